package main

import (
	"slices"
	"time"
)

// latencies collects durations.
type latencies []time.Duration

// add the 50th and 99th percentile and the worst, in milliseconds, to out.
func (l latencies) add(out figures) {
	if len(l) == 0 {
		return
	}
	slices.Sort(l)
	at := func(share float64) float64 {
		return float64(l[min(int(share*float64(len(l))), len(l)-1)].Microseconds()) / 1000
	}
	out["p50_ms"], out["p99_ms"], out["max_ms"] = at(0.50), at(0.99), at(1)
}
