package main

import (
	"fmt"
	"time"
)

// fanOut is one publisher and many subscribers: of one channel, or in equal parts of several, which are published to in
// turn. The publisher is at the first node; the subscribers of a channel are spread over all.
type fanOut struct {
	loop        *loop
	publisher   *client
	subscribers []*client
	channels    int
	size        int
	published   int
	acked       int
	delivered   int
}

func openFanOut(o options, onLine func(c *client, line []byte)) (*fanOut, error) {
	l, err := newLoop(o.ports)
	if err != nil {
		return nil, err
	}
	if o.connections%o.channels != 0 {
		return nil, fmt.Errorf("%d subscribers cannot be in equal parts of %d channels", o.connections, o.channels)
	}
	f := &fanOut{loop: l, size: o.payloadBytes, channels: o.channels}
	acked := func(_ *client, line []byte) {
		if _, ok := replyID(line); !ok {
			l.fail(fmt.Errorf("publish: %q", line))
		}
		f.acked++
	}
	publishers, err := l.openClients(1, func(int) *client { return &client{onLine: acked} })
	if err != nil {
		return nil, err
	}
	f.publisher = publishers[0]
	f.subscribers, err = l.openClients(o.connections, func(i int) *client {
		c := &client{channel: fanOutChannel(i % o.channels), onLine: func(c *client, line []byte) {
			c.counted++
			f.delivered++
			onLine(c, line)
		}}
		c.node = i / o.channels
		return c
	})
	return f, err
}

func fanOutChannel(i int) string {
	return fmt.Sprintf("bench:fan-out-%d", i)
}

func (f *fanOut) publish() {
	channel := fanOutChannel(f.published % f.channels)
	f.published++
	f.publisher.command(publishCommand(f.published+1, channel, payload(f.size)))
}

// each is how many subscribers a channel has.
func (f *fanOut) each() int {
	return len(f.subscribers) / f.channels
}

// finish waits until every subscriber has every message.
func (f *fanOut) finish() error {
	want := f.published * f.each()
	if err := f.loop.run(10*time.Second, func() bool { return f.delivered >= want }); err != nil {
		return fmt.Errorf("%d of %d deliveries: %w", f.delivered, want, err)
	}
	for i, c := range f.subscribers {
		if sent := (f.published + f.channels - 1 - i%f.channels) / f.channels; c.counted != sent {
			return fmt.Errorf("a subscriber got %d messages of %d", c.counted, sent)
		}
	}
	return nil
}

// paced publishes at a steady rate and measures CPU per delivery and latency, after a second of warming up, and how many
// of the clients the process has that has most.
func paced(o options) (figures, error) {
	var taken latencies
	before, err := look(o.pids)
	if err != nil {
		return nil, err
	}
	f, err := openFanOut(o, func(c *client, line []byte) {
		if sent, ok := sentAt(line); ok {
			taken = append(taken, time.Since(sent))
		}
	})
	if err != nil {
		return nil, err
	}
	if err := f.pace(o.rate, time.Second); err != nil {
		return nil, err
	}
	taken = make(latencies, 0, f.each()*(o.rate+1)*int(o.duration/time.Second+1))
	f.delivered, f.published = 0, 0
	for _, c := range f.subscribers {
		c.counted = 0
	}
	use := startUsage(o)
	if err := f.pace(o.rate, o.duration); err != nil {
		return nil, err
	}
	out := use.figures(f.delivered)
	taken.add(out)
	after, err := look(o.pids)
	if err != nil {
		return nil, err
	}
	for i := range after {
		carried := after[i].descriptors - before[i].descriptors
		out["share_max_percent"] = max(out["share_max_percent"], 100*float64(carried)/float64(o.connections))
	}
	return out, nil
}

func (f *fanOut) pace(rate int, duration time.Duration) error {
	interval := time.Second / time.Duration(rate)
	began := time.Now()
	for i := range int(duration / interval) {
		due := began.Add(time.Duration(i) * interval)
		for wait := time.Until(due); wait > 0; wait = time.Until(due) {
			if err := f.loop.turn(wait + time.Millisecond); err != nil {
				return err
			}
		}
		f.publish()
	}
	return f.finish()
}

// saturated keeps so many messages in flight, counted until every subscriber has them.
func saturated(o options) (figures, error) {
	f, err := openFanOut(o, func(*client, []byte) {})
	if err != nil {
		return nil, err
	}
	if err := f.saturate(o.inFlight, time.Second); err != nil {
		return nil, err
	}
	use, before := startUsage(o), f.delivered
	if err := f.saturate(o.inFlight, o.duration); err != nil {
		return nil, err
	}
	return use.figures(f.delivered - before), nil
}

func (f *fanOut) saturate(inFlight int, duration time.Duration) error {
	end := time.Now().Add(duration)
	for time.Now().Before(end) {
		for f.published < inFlight+min(f.acked, f.delivered/f.each()) {
			f.publish()
		}
		if err := f.loop.turn(10 * time.Millisecond); err != nil {
			return err
		}
	}
	return f.finish()
}
