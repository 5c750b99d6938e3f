package main

import (
	"bytes"
	"fmt"
	"strconv"
	"time"
)

// publisher keeps messages in flight on one connection: each acknowledgement starts the next publish.
type publisher struct {
	client
	target string // the channel published to
	size   int
	sent   []time.Time // by command id; 0 and 1 are not publishes
	unsent []byte
}

// publish measures acknowledged client publishes, each connection with its share of what is in flight.
func publish(o options) (figures, error) {
	l, err := newLoop(o.ports)
	if err != nil {
		return nil, err
	}
	var taken latencies
	publishers := make([]*publisher, o.connections)
	_, err = l.openClients(o.connections, func(i int) *client {
		p := &publisher{target: fmt.Sprintf("bench:room-%d", i), size: o.payloadBytes, sent: make([]time.Time, 2)}
		p.onLine = func(_ *client, line []byte) {
			id, ok := replyID(line)
			if !ok {
				l.fail(fmt.Errorf("publish: %q", line))
				return
			}
			taken = append(taken, time.Since(p.sent[id]))
			p.publish()
		}
		p.node = i
		publishers[i] = p
		return &p.client
	})
	if err != nil {
		return nil, err
	}
	for _, p := range publishers {
		p.start(o.inFlight / o.connections)
	}
	if err := l.runFor(time.Second); err != nil {
		return nil, err
	}
	taken = taken[:0]
	use := startUsage(o)
	if err := l.runFor(o.duration); err != nil {
		return nil, err
	}
	out := use.figures(len(taken))
	taken.add(out)
	return out, nil
}

// start sends the first publishes; from now on what one chunk from the server starts leaves in one write.
func (p *publisher) start(inFlight int) {
	p.onReceive = func(chunk []byte) int {
		used := p.parse(chunk)
		p.flush()
		return used
	}
	for range inFlight {
		p.publish()
	}
	p.flush()
}

func (p *publisher) publish() {
	command := publishCommand(len(p.sent), p.target, payload(p.size))
	p.sent = append(p.sent, time.Now())
	p.unsent = appendFrame(p.unsent, []byte(command))
}

func (p *publisher) flush() {
	p.send(p.unsent)
	p.unsent = p.unsent[:0]
}

func publishCommand(id int, channel, data string) string {
	return fmt.Sprintf(`{"id":%d,"publish":{"channel":%q,"data":%s}}`, id, channel, data)
}

// replyID returns the id of a publish reply; it is not ok if it is an error or something else.
func replyID(line []byte) (id int, ok bool) {
	digits, found := bytes.CutPrefix(line, []byte(`{"id":`))
	end := bytes.IndexByte(digits, ',')
	if !found || end < 0 || !bytes.HasPrefix(digits[end:], []byte(`,"publish"`)) {
		return 0, false
	}
	id, err := strconv.Atoi(string(digits[:end]))
	return id, err == nil
}
