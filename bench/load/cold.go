package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	coldBatch  = 50
	readsTotal = "gapless_store_reads_total"
)

// coldStorm is a storm on nodes that hold nothing of what the clients missed, as after a restart of all of them: the
// channels were published to, but nobody has followed them. A tenth of the clients warms the nodes up with channels of
// its own.
func coldStorm(o options) (figures, error) {
	l, err := newLoop(o.ports)
	if err != nil {
		return nil, err
	}
	warm, err := missedPlaces(o, "bench:warm")
	if err != nil {
		return nil, err
	}
	places, err := missedPlaces(o, "bench:cold")
	if err != nil {
		return nil, err
	}
	if _, _, err := recoverAll(l, o, o.connections/10, warm); err != nil {
		return nil, err
	}
	if err := l.runFor(500 * time.Millisecond); err != nil {
		return nil, err
	}
	before := storeReads(o)
	use, taken, err := recoverAll(l, o, o.connections, places)
	if err != nil {
		return nil, err
	}
	out := use.figures(o.connections)
	taken.add(out)
	for i, reads := range storeReads(o) {
		out["channel_reads_max"] = max(out["channel_reads_max"], (reads-before[i])/float64(o.channels))
	}
	return out, nil
}

// missedPlaces publishes to so many channels, and returns where each was before the last o.missed messages.
func missedPlaces(o options, prefix string) ([]place, error) {
	places := make([]place, o.channels)
	for i := range places {
		places[i].channel = fmt.Sprintf("%s-%d", prefix, i)
		since, err := publishBatch(o, places[i].channel, coldBatch)
		if err != nil {
			return nil, err
		}
		places[i].since = since
		for left := o.missed; left > 0; left -= coldBatch {
			if _, err := publishBatch(o, places[i].channel, min(left, coldBatch)); err != nil {
				return nil, err
			}
		}
	}
	return places, nil
}

// publishBatch publishes through the first node's API, and returns the position of the last message.
func publishBatch(o options, channel string, count int) (last position, err error) {
	commands := make([]string, count)
	for i := range commands {
		commands[i] = fmt.Sprintf(`{"publish":{"channel":%q,"data":%s}}`, channel, payload(o.payloadBytes))
	}
	body := `{"commands":[` + strings.Join(commands, ",") + `]}`
	url := fmt.Sprintf("http://127.0.0.1:%d/api/batch", o.ports[0])
	answer, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		return last, err
	}
	defer answer.Body.Close()
	var told struct {
		Replies []struct {
			Publish *position `json:"publish"`
		} `json:"replies"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&told); err != nil {
		return last, err
	}
	if len(told.Replies) != count || told.Replies[count-1].Publish == nil {
		return last, fmt.Errorf("batch: %d of %d publications were answered, or the last was refused", len(told.Replies), count)
	}
	return *told.Replies[count-1].Publish, nil
}

// storeReads asks each node how often it has read its store; nothing where that is no metric of it.
func storeReads(o options) (reads []float64) {
	for _, port := range o.ports {
		answer, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", port))
		if err != nil {
			return nil
		}
		text, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		for line := range bytes.Lines(text) {
			if value, found := bytes.CutPrefix(line, []byte(readsTotal+" ")); found {
				count, _ := strconv.ParseFloat(string(bytes.TrimSpace(value)), 64)
				reads = append(reads, count)
			}
		}
	}
	return reads
}
