# SPDX-License-Identifier: Apache-2.0
# Wherry: `make` builds, `make demo` shows it, `make check` tests it, `make bench` measures it.
# Variables: CC (gcc 12 or clang 14), BUILD (where objects go), SANITIZE=1, WERROR=1, V=1 (show commands).

MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:

CC      := $(if $(filter default,$(origin CC)),gcc,$(CC))
CXX     := $(if $(filter default,$(origin CXX)),g++,$(CXX))
CLANG   ?= clang
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool) bpftool)
BUILD   ?= build
VERSION := 0.1.0
COMMIT  := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)

PKGS    := libbpf libmnl libuv jansson sqlite3 libcurl libmicrohttpd
WARN    := -Wall -Wextra -Wshadow -Wvla -Wformat=2 -Wno-format-nonliteral
CWARN    = $(WARN) -Wstrict-prototypes -Wmissing-prototypes
HARDEN  := -fPIE -fstack-protector-strong -D_FORTIFY_SOURCE=2
LDHARD  := -pie -Wl,-z,relro,-z,now -Wl,--as-needed
OPT     := -O2 -g
ifeq ($(SANITIZE),1)
HARDEN  := -fPIE -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
LDHARD  := -pie -fsanitize=address,undefined -Wl,--as-needed
OPT     := -O1 -g
endif
ifneq ($(V),1)
Q := @
say = @printf '  %-8s %s\n' '$(1)' '$(2)'
endif
ifeq ($(WERROR),1)
WARN    += -Werror
endif

CPPFLAGS += -Iinclude -Isrc -I$(BUILD) -D_GNU_SOURCE -DWHERRY_VERSION='"$(VERSION)"' -DWHERRY_COMMIT='"$(COMMIT)"'
CFLAGS   += -std=gnu17 $(OPT) $(CWARN) $(HARDEN)
CXXFLAGS += -std=c++17 $(OPT) $(WARN) $(HARDEN)
LDFLAGS  += $(LDHARD)
LDLIBS    = $(shell pkg-config --libs $(PKGS)) -lstdc++ -lpthread

# Everything in src/ but the main.c files is one library that every program and test links.
mains    := $(wildcard src/*/main.c)
csources := $(filter-out $(mains),$(wildcard src/*/*.c))
ccsource := $(wildcard src/*/*.cpp)
lib      := $(BUILD)/libwherry.a
libobjs  := $(csources:%.c=$(BUILD)/%.o) $(ccsource:%.cpp=$(BUILD)/%.o)
bpfsrc   := $(wildcard bpf/*.bpf.c)
skels    := $(bpfsrc:bpf/%.bpf.c=$(BUILD)/bpf/%.skel.h)
programs := $(mains:src/%/main.c=$(BUILD)/%)

all: $(programs)

$(BUILD)/%.o: %.c | $(skels)
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/%.o: %.cpp
	@mkdir -p $(@D)
	$(call say,CXX,$<)
	$(Q)$(CXX) $(CPPFLAGS) $(CXXFLAGS) -MMD -MP -c $< -o $@

$(lib): $(libobjs)
	@rm -f $@
	$(Q)ar rcs $@ $^

$(BUILD)/bpf/%.bpf.o: bpf/%.bpf.c
	@mkdir -p $(@D)
	$(call say,BPF,$<)
	$(Q)$(CLANG) -target bpf -mcpu=v3 -std=gnu17 -O2 -g -Wall -Wextra -Wno-unused-parameter -Wno-address-of-packed-member \
		-Iinclude -Ibpf -idirafter /usr/include/$(shell gcc -print-multiarch) -MMD -MP -MT $@ -MF $(@:.o=.d) -c $< -o $@

$(BUILD)/bpf/%.skel.h: $(BUILD)/bpf/%.bpf.o
	$(Q)$(BPFTOOL) gen skeleton $< name $*_bpf > $@

$(programs): $(BUILD)/%: $(BUILD)/src/%/main.o $(lib)
	$(call say,LD,$@)
	$(Q)$(CXX) $(LDFLAGS) $< $(lib) $(LDLIBS) -o $@

# Unit tests: tests/unit/AREA/CONCEPT.c, each a cmocka program. Built with sanitizers in a tree of
# their own: make SANITIZE=1 BUILD=build/sanitize build/sanitize/tests/unit/base/addr
unit_tests := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/*/*.c))

$(unit_tests): $(BUILD)/%: $(BUILD)/%.o $(lib)
	$(call say,LD,$@)
	$(Q)$(CXX) $(LDFLAGS) $< $(lib) $(LDLIBS) -lcmocka -o $@

unit-tests: $(unit_tests)

# Tests of the BPF programs: tests/bpf/CONCEPT.c, each a cmocka program that needs root.
bpf_helpers := $(BUILD)/tests/bpf/harness.o $(BUILD)/tests/bpf/frames.o \
	$(BUILD)/tests/bpf/crossing.o
bpf_tests   := $(filter-out $(bpf_helpers:.o=),$(patsubst %.c,$(BUILD)/%,$(wildcard tests/bpf/*.c)))

$(bpf_tests): $(BUILD)/%: $(BUILD)/%.o $(bpf_helpers) $(lib)
	$(call say,LD,$@)
	$(Q)$(CXX) $(LDFLAGS) $< $(bpf_helpers) $(lib) $(LDLIBS) -lcmocka -o $@

bpf-tests: $(bpf_tests)

# Benchmarks; see bench/README.md.
bench_tools := $(addprefix $(BUILD)/bench/,udpload floor floor.bpf.o programs programs.bpf.o catalog)

$(BUILD)/bench/udpload: $(addprefix $(BUILD)/bench/,load.o udpload.o udp_server.o udp_client.o)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $^ -o $@

$(BUILD)/bench/floor: $(BUILD)/bench/floor.o
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $^ -lbpf -o $@

# With the fabric, and with the store.
$(BUILD)/bench/programs $(BUILD)/bench/catalog: %: %.o $(lib)
	$(call say,LD,$@)
	$(Q)$(CXX) $(LDFLAGS) $< $(lib) $(LDLIBS) -o $@

$(BUILD)/bench/%.bpf.o: bench/%.bpf.c bench/%.h
	@mkdir -p $(@D)
	$(call say,BPF,$<)
	$(Q)$(CLANG) -target bpf -mcpu=v3 -std=gnu17 -O2 -g -Wall -Wno-address-of-packed-member -Ibench -Iinclude \
		-idirafter /usr/include/$(shell gcc -print-multiarch) -c $< -o $@

bench-tools: all $(bench_tools)

bench:
	packaging/install-deps build run bench
	$(MAKE) bench-tools
	bench/run udp
	bench/run restart
	bench/run programs
	bench/run fleet
	bench/run catalog

# Programs that end-to-end tests run: tests/lib/NAME.c with a main(). Static, because they run in
# images FROM scratch, too.
test_tools := $(patsubst %.c,$(BUILD)/%,$(shell grep -l '^int main' tests/lib/*.c))

$(test_tools): $(BUILD)/%: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) -std=gnu17 -O2 -g $(CWARN) -D_GNU_SOURCE -static $< -o $@

test-tools: $(test_tools)

# The commands. Sub-makes, because what was installed just before must be found.
jobs := -j$(shell nproc)

check:
	packaging/install-deps build run test
	$(MAKE) $(jobs) all test-tools bench-tools
	$(MAKE) $(jobs) SANITIZE=1 BUILD=build/sanitize all unit-tests bpf-tests
	$(MAKE) --no-print-directory run-tests

lint:
	tests/lint

run-tests:
	tests/run tests/lint $(patsubst %,build/sanitize/%,$(patsubst %.c,%,$(wildcard tests/unit/*/*.c)) \
		$(filter-out $(bpf_helpers:$(BUILD)/%.o=%),$(patsubst %.c,%,$(wildcard tests/bpf/*.c)))) \
		$(sort $(wildcard tests/e2e/*.sh))

# The oldest kernel that is supported, in an emulated machine.
check-oldest:
	packaging/install-deps build run test oldest
	$(MAKE) $(jobs) all test-tools bench-tools bpf-tests
	tests/oldest/run

demo:
	packaging/install-deps build run test
	$(MAKE) $(jobs) all
	examples/demo

# Installing. DESTDIR is for packagers.
PREFIX  ?= /usr
mandir  := $(PREFIX)/share/man
pages   := $(patsubst man/%.scd,$(BUILD)/man/%,$(wildcard man/*.scd)) $(BUILD)/man/wherry.1

$(BUILD)/man/wherry.1: $(BUILD)/wherry
	@mkdir -p $(@D)
	$(Q)$(BUILD)/wherry man | scdoc > $@

$(BUILD)/man/%: man/%.scd
	@mkdir -p $(@D)
	$(Q)scdoc < $< > $@

man: $(pages)

install: all man
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/libexec/wherry \
		$(DESTDIR)/etc/wherry $(DESTDIR)$(PREFIX)/lib/systemd/system
	install -m 755 $(BUILD)/wherry $(DESTDIR)$(PREFIX)/bin/
	install -m 755 $(BUILD)/wherryd $(DESTDIR)$(PREFIX)/sbin/
	install -m 755 $(BUILD)/wherry-init $(DESTDIR)$(PREFIX)/libexec/wherry/
	install -m 644 packaging/wherryd.service $(DESTDIR)$(PREFIX)/lib/systemd/system/
	test -e $(DESTDIR)/etc/wherry/wherryd.toml || \
		install -m 644 packaging/wherryd.toml $(DESTDIR)/etc/wherry/wherryd.toml
	for page in $(pages); do section=$${page##*.}; \
		install -D -m 644 $$page $(DESTDIR)$(mandir)/man$$section/$${page##*/} || exit 1; done
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions \
		$(DESTDIR)$(PREFIX)/share/zsh/vendor-completions \
		$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	$(BUILD)/wherry completion bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/wherry
	$(BUILD)/wherry completion zsh > $(DESTDIR)$(PREFIX)/share/zsh/vendor-completions/_wherry
	$(BUILD)/wherry completion fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/wherry.fish

clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD) -path $(BUILD)/oldest -prune -o -name '*.d' -print 2>/dev/null)

.PHONY: all clean unit-tests bpf-tests bench bench-tools test-tools check check-oldest run-tests lint demo man install
