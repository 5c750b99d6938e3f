package main

import (
	"bytes"
	"fmt"
	"time"

	"github.com/segmentio/encoding/json"
)

// position is where a reader stands in a channel.
type position struct {
	Epoch  string `json:"epoch"`
	Offset uint64 `json:"offset"`
}

type publication struct {
	Offset uint64 `json:"offset"`
}

type reply struct {
	ID        uint64          `json:"id"`
	Error     json.RawMessage `json:"error"`
	Connect   json.RawMessage `json:"connect"`
	Subscribe *struct {
		position
		Recovered    bool          `json:"recovered"`
		Publications []publication `json:"publications"`
	} `json:"subscribe"`
	Push *struct {
		Channel     string       `json:"channel"`
		Publication *publication `json:"pub"`
	} `json:"push"`
}

// client speaks Centrifugo's JSON protocol. It connects, subscribes if it has a channel, and is ready; what comes
// after that goes to onLine, line by line.
type client struct {
	webSocket
	channel string
	token   string
	since   *position             // recover from here
	onReady func(*client, *reply) // the subscribe reply, or the connect reply without a channel
	onLine  func(c *client, line []byte)
	ready   bool
	counted int // for whoever counts lines
}

func (l *loop) openClient(c *client) error {
	c.onUpgrade = func() { c.command(c.connectCommand()) }
	c.onMessage = c.lines
	return l.openWebSocket(&c.webSocket)
}

// openClients opens so many clients, a hundred at a time, and returns when all are ready.
func (l *loop) openClients(count int, build func(i int) *client) ([]*client, error) {
	clients := make([]*client, count)
	ready, opened := 0, 0
	err := l.run(time.Minute, func() bool {
		for ; opened < min(count, ready+100); opened++ {
			c := build(opened)
			c.onReady = func(*client, *reply) { ready++ }
			clients[opened] = c
			if err := l.openClient(c); err != nil {
				l.fail(err)
			}
		}
		return ready == count
	})
	return clients, err
}

func (c *client) command(text string) {
	c.send(appendFrame(nil, []byte(text)))
}

func (c *client) lines(payload []byte) {
	for len(payload) > 0 {
		line := payload
		if end := bytes.IndexByte(payload, '\n'); end >= 0 {
			line, payload = payload[:end], payload[end+1:]
		} else {
			payload = nil
		}
		switch {
		case string(line) == "{}":
			c.command("{}")
		case c.ready:
			c.onLine(c, line)
		default:
			c.setUp(line)
		}
	}
}

func (c *client) setUp(line []byte) {
	var r reply
	if err := json.Unmarshal(line, &r); err != nil || r.Error != nil {
		c.loop.fail(fmt.Errorf("bad reply %q: %w", line, err))
		return
	}
	switch {
	case r.ID == 1 && c.channel != "":
		c.command(c.subscribeCommand())
	case r.ID == 1 || r.ID == 2:
		c.ready = true
		c.onReady(c, &r)
	}
}

func (c *client) connectCommand() string {
	if c.token == "" {
		return `{"id":1,"connect":{}}`
	}
	return fmt.Sprintf(`{"id":1,"connect":{"token":%q}}`, c.token)
}

func (c *client) subscribeCommand() string {
	if c.since == nil {
		return fmt.Sprintf(`{"id":2,"subscribe":{"channel":%q}}`, c.channel)
	}
	return fmt.Sprintf(`{"id":2,"subscribe":{"channel":%q,"recover":true,"epoch":%q,"offset":%d}}`,
		c.channel, c.since.Epoch, c.since.Offset)
}
