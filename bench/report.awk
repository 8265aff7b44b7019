# SPDX-License-Identifier: Apache-2.0
#
# subject TAB metric TAB value, one line a pass, into the table of medians with lowest..highest,
# the ratios that the project promises, and the same as JSON in the file named by -v json=.

function short(v) { # six columns at most
	if (v >= 1000000) return sprintf("%.2fM", v / 1000000)
	if (v >= 100000) return sprintf("%.0fk", v / 1000)
	if (v >= 10000) return sprintf("%.1fk", v / 1000)
	if (v == int(v)) return sprintf("%d", v)
	return sprintf("%.1f", v)
}

function sort_values(key, n,    i, j, v) {
	for (i = 2; i <= n; i++) {
		v = value[key, i]
		for (j = i - 1; j >= 1 && value[key, j] > v; j--)
			value[key, j + 1] = value[key, j]
		value[key, j + 1] = v
	}
}

function median(key,    n) {
	n = count[key]
	return n % 2 ? value[key, (n + 1) / 2] : (value[key, n / 2] + value[key, n / 2 + 1]) / 2
}

function cell(s, m,    key, low, high) {
	key = s SUBSEP m
	if (!(key in count)) return "-"
	low = short(value[key, 1])
	high = short(value[key, count[key]])
	return short(median(key)) (low == high ? "" : " (" low ".." high ")")
}

function table(title, names,    list, n, i, j, line) {
	n = split(names, list, " ")
	for (j = 1; j <= n && !(list[j] in known); j++);
	if (j > n) return # not measured this time
	printf "\n%s\n", title
	line = sprintf("  %-11s", "subject")
	for (j = 1; j <= n; j++) line = line sprintf(" %-22s", list[j])
	print line
	for (i = 1; i <= subject_count; i++) {
		line = sprintf("  %-11s", subject[i])
		for (j = 1; j <= n; j++) line = line sprintf(" %-22s", cell(subject[i], list[j]))
		sub(/ +$/, "", line)
		print line
	}
}

# Of each pass's own ratio: both sides had the same neighbours, so it wavers less.
function paired(ours, theirs,    n, i) {
	n = count[ours] < count[theirs] ? count[ours] : count[theirs]
	for (i = 1; i <= n; i++)
		value["paired", i] = raw[theirs, i] ? raw[ours, i] / raw[theirs, i] : 0
	count["paired"] = n
	sort_values("paired", n)
	return median("paired")
}

# @metric of "us" is a latency: the ratio is turned over, so that more is better everywhere.
function goal(subject_name, metric, against, least,    ours, theirs, swap, ratio, verdict, by_pass) {
	ours = subject_name SUBSEP metric
	theirs = against SUBSEP metric
	if (metric ~ /us$/) {
		swap = ours
		ours = theirs
		theirs = swap
	}
	if (!(ours in count) || !(theirs in count) || median(theirs) == 0) return
	ratio = median(ours) / median(theirs)
	by_pass = paired(ours, theirs)
	verdict = ratio >= least ? "met" : "MISSED"
	if (verdict == "MISSED") missed++
	printf "  %-9s %-11s of %-9s %5.2f (by pass %5.2f)   at least %4.2f   %s\n", subject_name,
		metric, against, ratio, by_pass, least, verdict
	goals = goals (goals ? ",\n" : "") sprintf("    {\"subject\": \"%s\", \"metric\": \"%s\", " \
		"\"against\": \"%s\", \"ratio\": %.3f, \"ratio_by_pass\": %.3f, \"least\": %.2f, " \
		"\"met\": %s}", subject_name, metric, against, ratio, by_pass, least,
		verdict == "met" ? "true" : "false")
}

function none_lost(metric,    key, worst) {
	key = "wherry" SUBSEP metric
	if (!(key in count)) return
	worst = value[key, count[key]]
	if (worst > 0) missed++
	printf "  wherry    %-11s at worst %d   none   %s\n", metric, worst,
		worst > 0 ? "MISSED" : "met"
	goals = goals (goals ? ",\n" : "") sprintf("    {\"subject\": \"wherry\", " \
		"\"metric\": \"%s\", \"worst\": %d, \"most\": 0, \"met\": %s}", metric, worst,
		worst > 0 ? "false" : "true")
}

function goals_of_udp() {
	goal("wherry", "flood_pps", "kernel", 1.05)
	goal("wherry", "echo_rps", "kernel", 1.05)
	goal("wherry", "flood_pps", "nginx", 2.1)
	goal("wherry", "echo_rps", "nginx", 2.1)
}

function goals_of_fleet() {
	goal("wherry", "flood_pps", "kernel", 1.05)
	goal("wherry", "echo_rps", "kernel", 1.0)
	goal("wherry", "flood_pps", "nft", 1.25)
	goal("wherry", "echo_rps", "nft", 1.2)
	goal("wherry", "flood_pps", "nginx", 2.0)
	goal("wherry", "echo_rps", "nginx", 2.1)
	goal("wherry-wg", "flood_pps", "kernel-wg", 0.97)
	goal("wherry-wg", "echo_rps", "kernel-wg", 0.97)
	goal("wherry-wg", "echo1_p50us", "kernel-wg", 0.97)
}

function write_json(    i, j, key, sep, inner) {
	printf "{\n  \"passes\": %d,\n  \"subjects\": {\n", passes > json
	for (i = 1; i <= subject_count; i++) {
		inner = ""
		for (j = 1; j <= metric_count; j++) {
			key = subject[i] SUBSEP metric[j]
			if (!(key in count)) continue
			inner = inner (inner ? ",\n" : "") sprintf("      \"%s\": {\"median\": %s, " \
				"\"low\": %s, \"high\": %s}", metric[j], median(key), value[key, 1],
				value[key, count[key]])
		}
		printf "    \"%s\": {\n%s\n    }%s\n", subject[i], inner,
			i < subject_count ? "," : "" > json
	}
	printf "  },\n  \"goals\": [\n%s\n  ]\n}\n", goals > json
}

BEGIN {
	FS = "\t"
	CONVFMT = "%.6g"
	OFMT = "%.6g"
	subject_count = split(subjects, subject, " ")
}

{
	key = $1 SUBSEP $2
	count[key]++
	value[key, count[key]] = raw[key, count[key]] = $3 + 0
	if (!($2 in known)) {
		known[$2] = 1
		metric[++metric_count] = $2
	}
}

END {
	for (key in count) sort_values(key, count[key])
	printf "UDP through %s, 64-byte payloads, median of %d passes (lowest..highest)\n",
		goals_of == "fleet" ? "an edge and a worker" : "one host", passes
	table("One way, 64 flows, as fast as the client sends",
		"flood_pps flood_lost flood_cpu_ns paced_lost")
	table("Echo, 64 flows with 8 in flight each",
		"echo_rps echo_p50us echo_p99us echo_cpu_ns echo_lost")
	table("Echo, one packet in flight", "echo1_p50us echo1_p99us echo1_lost")
	print "\nRatios of the medians"
	if (goals_of == "fleet") goals_of_fleet()
	else goals_of_udp()
	none_lost("echo_lost")
	none_lost("echo1_lost")
	none_lost("paced_lost")
	if (!("wherry" SUBSEP "echo_rps" in count)) print "  wherry was not measured"
	write_json()
}
