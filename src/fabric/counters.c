/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the programs count, one value a CPU, as sums; and what the verdicts are called.
 */
#include "fabric/fabric_impl.h"

#include <bpf/bpf.h>
#include <errno.h>

static const struct {
	const char *name, *sentence;
	bool is_drop;
} verdicts[WHERRY_VERDICT_COUNT] = {
#define DROP			      true
#define PASS			      false
#define X(name, text, kind, sentence) [WHERRY_##name] = {text, sentence, kind},
	WHERRY_VERDICTS(X)
#undef X
#undef DROP
#undef PASS
};

int fabric_verdicts(struct fabric *fabric, uint64_t sums[static WHERRY_VERDICT_COUNT])
{
	_free_ uint64_t *values = calloc(fabric->cpu_count, sizeof(*values));

	if (!values)
		return -ENOMEM;
	for (uint32_t i = 0; i < WHERRY_VERDICT_COUNT; i++) {
		sums[i] = 0;
		if (bpf_map_lookup_elem(fabric->maps[MAP_VERDICTS], &i, values) < 0)
			return -errno;
		for (unsigned int cpu = 0; cpu < fabric->cpu_count; cpu++)
			sums[i] += values[cpu];
	}
	return 0;
}

int fabric_machine_traffic(struct fabric *fabric, const char *id, struct wherry_traffic *sum)
{
	_free_ struct wherry_traffic *values = calloc(fabric->cpu_count, sizeof(*values));
	uint32_t index = machine_index(fabric, id);

	if (!index)
		return -ENOENT;
	if (!values)
		return -ENOMEM;
	if (bpf_map_lookup_elem(fabric->maps[MAP_TRAFFIC], &index, values) < 0)
		return -errno;
	*sum = (struct wherry_traffic){};
	for (unsigned int cpu = 0; cpu < fabric->cpu_count; cpu++) {
		sum->rx_packets += values[cpu].rx_packets;
		sum->rx_bytes += values[cpu].rx_bytes;
		sum->tx_packets += values[cpu].tx_packets;
		sum->tx_bytes += values[cpu].tx_bytes;
	}
	return 0;
}

const char *fabric_verdict_name(enum wherry_verdict verdict)
{
	return verdicts[verdict].name;
}

const char *fabric_verdict_sentence(enum wherry_verdict verdict)
{
	return verdicts[verdict].sentence;
}

bool fabric_verdict_is_drop(enum wherry_verdict verdict)
{
	return verdicts[verdict].is_drop;
}
