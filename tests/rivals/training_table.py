"""Prints what training.sh measured: reads its JSON lines, writes a table of medians and of their ratios.

Passes of all rounds of an engine are taken together. A rival's mode is chosen by its median of CPU time, network by
network; a ratio is ours over that mode's.
"""

import json
import statistics
import sys

OURS = "broadsweep"


def gather(lines):
    """Networks in the order of their first line, each with its passes by engine and mode; and ours, line by line."""
    networks, ours = {}, {}
    for line in map(json.loads, lines):
        if line["phase"] != "training":
            continue
        engines = networks.setdefault(line["network"], {})
        passes = engines.setdefault((line["engine"], line.get("mode", "")), {"wall": [], "cpu": []})
        passes["wall"] += line["wall"]
        passes["cpu"] += line["cpu"]
        if line["engine"] == OURS:
            ours.setdefault(line["network"], []).append(line)
    return networks, ours


def medians(passes):
    """Of samples a second, by wall time and by CPU time."""
    return statistics.median(passes["wall"]), statistics.median(passes["cpu"])


def fractions(lines):
    """Our part of each measured peak, in percent, by CPU time."""
    gflops = statistics.median(rate * line["flops_a_sample"] / 1e9 for line in lines for rate in line["cpu"])
    for width in lines[0]["peak_gflops"]:
        peak = statistics.median(burst for line in lines for burst in line["peak_gflops"][width])
        yield f"{100 * gflops / peak:.0f} % of {width}"


def main():
    networks, ours = gather(sys.stdin)
    print(f"{'network':<24} {'engine':<24} {'samples/s':>11} {'by CPU time':>11} {'ours/its':>9} {'by CPU':>7}")
    lowest = {}
    for network, engines in networks.items():
        wall, cpu = medians(engines.pop((OURS, "")))
        part = ", ".join(fractions(ours[network]))
        print(f"{network:<24} {OURS:<24} {wall:11.0f} {cpu:11.0f} {'':17} {part}")
        for engine in dict.fromkeys(engine for engine, _ in engines):
            modes = {mode: medians(passes) for (name, mode), passes in engines.items() if name == engine}
            best = max(modes, key=lambda mode: modes[mode][1])
            its_wall, its_cpu = modes[best]
            others = ", ".join(f"{mode} {modes[mode][1]:.0f}" for mode in modes if mode != best)
            ratio, named = cpu / its_cpu, f"{engine} ({best})"
            ratios = f"{wall / its_wall:9.2f} {ratio:7.2f}"
            print(f"{'':<24} {named:<24} {its_wall:11.0f} {its_cpu:11.0f} {ratios} {others and f'({others})'}")
            lowest[engine] = min(lowest.get(engine, (ratio, network)), (ratio, network))
    for engine, (ratio, network) in lowest.items():
        print(f"lowest ratio to {engine}, by CPU time: {ratio:.2f} ({network})")


if __name__ == "__main__":
    main()
