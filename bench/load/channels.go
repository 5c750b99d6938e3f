package main

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	channelsPerClient = 100 // Centrifugo's limit is 128
	scrapes           = 20
)

// channels measures what a channel with history, one subscriber and one message costs beyond the connection, and how
// long the server's metrics take while it has that many.
func channels(o options) (figures, error) {
	l, err := newLoop(o.ports)
	if err != nil {
		return nil, err
	}
	pending := 0
	clients, err := l.openClients(o.connections, func(int) *client {
		return &client{onLine: func(_ *client, line []byte) {
			if strings.HasPrefix(string(line), `{"id":`) {
				pending--
			}
		}}
	})
	if err == nil {
		err = l.runFor(o.settle)
	}
	if err != nil {
		return nil, err
	}
	before, err := residentBytes(o.pids[0])
	if err != nil {
		return nil, err
	}
	use := startUsage(o)
	for i, c := range clients {
		pending += 2 * channelsPerClient
		c.command(followAndPublish(i, o.payloadBytes))
		if err := l.run(time.Minute, func() bool { return pending == 0 }); err != nil {
			return nil, err
		}
	}
	count := o.connections * channelsPerClient
	out := use.figures(count)
	if err := l.runFor(o.settle); err != nil {
		return nil, err
	}
	after, err := residentBytes(o.pids[0])
	if err != nil {
		return nil, err
	}
	out["channel_bytes"] = float64(after-before) / float64(count)
	return out, scrape(o, out)
}

// followAndPublish returns commands that subscribe one client to its channels and publish a message to each.
func followAndPublish(client, size int) string {
	var commands []string
	for n := range channelsPerClient {
		channel, id := fmt.Sprintf("bench:own-%d-%d", client, n), 2+2*n
		commands = append(commands,
			fmt.Sprintf(`{"id":%d,"subscribe":{"channel":%q}}`, id, channel),
			publishCommand(id+1, channel, payload(size)))
	}
	return strings.Join(commands, "\n")
}

// scrape reads the metrics again and again, and notes the median and the longest time.
func scrape(o options, out figures) error {
	var taken []float64
	for range scrapes {
		began := time.Now()
		answer, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", o.ports[0]))
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusOK {
			return fmt.Errorf("metrics: %s: %w", answer.Status, err)
		}
		taken = append(taken, time.Since(began).Seconds()*1e3)
	}
	slices.Sort(taken)
	out["metrics_ms"], out["metrics_max_ms"] = taken[len(taken)/2], taken[len(taken)-1]
	return nil
}
