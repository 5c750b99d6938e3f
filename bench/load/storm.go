package main

import (
	"fmt"
	"time"

	"github.com/segmentio/encoding/json"
)

const stormChannel = "bench:storm"

// place is where a client stood when it went away.
type place struct {
	channel string
	since   position
}

// stormer is one client that comes back and must get every message after its position, in order, once.
type stormer struct {
	client
	next, last uint64 // offsets
	done       func()
}

// storm lets clients connect all at once, each recovering what it missed, after a tenth of them has warmed the server up.
func storm(o options) (figures, error) {
	l, err := newLoop(o.ports)
	if err != nil {
		return nil, err
	}
	since, err := missMessages(l, o)
	if err != nil {
		return nil, err
	}
	places := []place{{stormChannel, since}}
	if _, _, err := recoverAll(l, o, o.connections/10, places); err != nil {
		return nil, err
	}
	if err := l.runFor(500 * time.Millisecond); err != nil {
		return nil, err
	}
	use, taken, err := recoverAll(l, o, o.connections, places)
	if err != nil {
		return nil, err
	}
	out := use.figures(o.connections)
	taken.add(out)
	return out, nil
}

// missMessages publishes and returns the position before the last o.missed messages.
func missMessages(l *loop, o options) (since position, err error) {
	acked := 0
	clients, err := l.openClients(2, func(i int) *client {
		return &client{onLine: func(_ *client, line []byte) {
			if _, ok := replyID(line); !ok {
				l.fail(fmt.Errorf("publish: %q", line))
			}
			acked++
		}}
	})
	if err != nil {
		return since, err
	}
	publish := func(count int) error {
		for range count {
			clients[0].command(publishCommand(2, stormChannel, payload(o.payloadBytes)))
		}
		want := acked + count
		return l.run(10*time.Second, func() bool { return acked == want })
	}
	if err := publish(50); err != nil {
		return since, err
	}
	found := false
	reader := &client{channel: stormChannel, onLine: func(*client, []byte) {}, onReady: func(_ *client, r *reply) {
		since, found = r.Subscribe.position, true
	}}
	if err := l.openClient(reader); err != nil {
		return since, err
	}
	if err := l.run(10*time.Second, func() bool { return found }); err != nil {
		return since, err
	}
	return since, publish(o.missed)
}

// recoverAll lets so many clients come back, in turn to each place and there to each node.
func recoverAll(l *loop, o options, count int, places []place) (usage, latencies, error) {
	use := startUsage(o)
	taken := make(latencies, 0, count)
	stormers := make([]*stormer, count)
	for i := range stormers {
		at := &places[i%len(places)]
		s := &stormer{next: at.since.Offset + 1, last: at.since.Offset + uint64(o.missed)}
		s.client = client{channel: at.channel, since: &at.since, onReady: s.recovered, onLine: s.followed}
		s.node = i / len(places)
		s.done = func() { taken = append(taken, time.Since(use.began)) }
		stormers[i] = s
		if err := l.openClient(&s.client); err != nil {
			return use, nil, err
		}
	}
	err := l.run(time.Minute, func() bool { return len(taken) == count })
	for _, s := range stormers {
		s.close()
	}
	return use, taken, err
}

func (s *stormer) recovered(_ *client, r *reply) {
	if !r.Subscribe.Recovered {
		s.loop.fail(fmt.Errorf("a client was not recovered"))
	}
	for _, p := range r.Subscribe.Publications {
		s.accept(p.Offset)
	}
}

func (s *stormer) followed(_ *client, line []byte) {
	var r reply
	if err := json.Unmarshal(line, &r); err != nil || r.Push == nil || r.Push.Publication == nil {
		s.loop.fail(fmt.Errorf("not a publication: %q", line))
		return
	}
	s.accept(r.Push.Publication.Offset)
}

func (s *stormer) accept(offset uint64) {
	if offset != s.next {
		s.loop.fail(fmt.Errorf("a client got offset %d instead of %d", offset, s.next))
	}
	s.next++
	if s.next == s.last+1 {
		s.done()
	}
}
