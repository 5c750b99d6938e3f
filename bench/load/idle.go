package main

import (
	"fmt"
)

const idleWarmUp = 500

// idle measures how the server's resident memory grows with connections that have one subscription each.
func idle(o options) (figures, error) {
	l, err := newLoop(o.ports)
	if err != nil {
		return nil, err
	}
	opened := 0
	grow := func(count int) (int, error) {
		_, err := l.openClients(count, func(int) *client {
			opened++
			channel := "bench:lobby"
			if o.ownChannel {
				channel = fmt.Sprintf("bench:user-%d", opened)
			}
			return &client{channel: channel, onLine: func(*client, []byte) {}}
		})
		if err == nil {
			err = l.runFor(o.settle)
		}
		if err != nil {
			return 0, err
		}
		return residentBytes(o.pids[0])
	}
	before, err := grow(idleWarmUp)
	if err != nil {
		return nil, err
	}
	use := startUsage(o)
	after, err := grow(o.connections)
	if err != nil {
		return nil, err
	}
	out := use.figures(o.connections)
	out["resident_bytes"] = float64(after)
	out["connection_bytes"] = float64(after-before) / float64(o.connections)
	return out, nil
}
