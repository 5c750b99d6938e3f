package main

import (
	"fmt"
	"time"
)

const fanOutChannel = "bench:fan-out"

// fanOut is one publisher and many subscribers of one channel.
type fanOut struct {
	loop        *loop
	publisher   *client
	subscribers []*client
	size        int
	published   int
	acked       int
	delivered   int
}

func openFanOut(o options, onLine func(c *client, line []byte)) (*fanOut, error) {
	l, err := newLoop(o.port)
	if err != nil {
		return nil, err
	}
	f := &fanOut{loop: l, size: o.payloadBytes}
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
	f.subscribers, err = l.openClients(o.connections, func(int) *client {
		return &client{channel: fanOutChannel, onLine: func(c *client, line []byte) {
			c.counted++
			f.delivered++
			onLine(c, line)
		}}
	})
	return f, err
}

func (f *fanOut) publish() {
	f.published++
	f.publisher.command(publishCommand(f.published+1, fanOutChannel, payload(f.size)))
}

// finish waits until every subscriber has every message.
func (f *fanOut) finish() error {
	want := f.published * len(f.subscribers)
	if err := f.loop.run(10*time.Second, func() bool { return f.delivered >= want }); err != nil {
		return fmt.Errorf("%d of %d deliveries: %w", f.delivered, want, err)
	}
	for _, c := range f.subscribers {
		if c.counted != f.published {
			return fmt.Errorf("a subscriber got %d messages of %d", c.counted, f.published)
		}
	}
	return nil
}

// paced publishes at a steady rate and measures CPU per delivery and latency, after a second of warming up.
func paced(o options) (figures, error) {
	var taken latencies
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
	taken = make(latencies, 0, o.connections*(o.rate+1)*int(o.duration/time.Second+1))
	f.delivered, f.published = 0, 0
	for _, c := range f.subscribers {
		c.counted = 0
	}
	use := startUsage(o.pid)
	if err := f.pace(o.rate, o.duration); err != nil {
		return nil, err
	}
	out := use.figures(f.delivered)
	taken.add(out)
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
	use, before := startUsage(o.pid), f.delivered
	if err := f.saturate(o.inFlight, o.duration); err != nil {
		return nil, err
	}
	return use.figures(f.delivered - before), nil
}

func (f *fanOut) saturate(inFlight int, duration time.Duration) error {
	end := time.Now().Add(duration)
	for time.Now().Before(end) {
		for f.published < inFlight+min(f.acked, f.delivered/len(f.subscribers)) {
			f.publish()
		}
		if err := f.loop.turn(10 * time.Millisecond); err != nil {
			return err
		}
	}
	return f.finish()
}
