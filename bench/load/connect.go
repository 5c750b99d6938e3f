package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"
)

const (
	connectsAtOnce = 100
	tokenHeader    = `{"alg":"HS256","typ":"JWT"}`
)

// connect measures what it costs a server to let clients in, each with a token of its own: to accept and upgrade their
// connections, and then to answer their connect commands.
func connect(o options) (figures, error) {
	l, err := newLoop(o.ports)
	if err != nil {
		return nil, err
	}
	if _, _, err := letIn(l, o, o.connections/10); err != nil {
		return nil, err
	}
	opening, connecting, err := letIn(l, o, o.connections)
	if err != nil {
		return nil, err
	}
	connecting["open_cpu_seconds"] = opening["server_cpu_seconds"]
	return connecting, nil
}

// letIn opens so many WebSockets, then connects on them, a hundred at a time.
func letIn(l *loop, o options, count int) (opening, connecting figures, err error) {
	opened, connected := 0, 0
	clients := make([]*client, count)
	use := startUsage(o)
	started := 0
	err = l.run(time.Minute, func() bool {
		for ; started < min(count, opened+connectsAtOnce); started++ {
			c := &client{token: token(o.secret, fmt.Sprintf("user-%d", started)), onLine: func(*client, []byte) {}}
			c.onReady = func(*client, *reply) { connected++ }
			clients[started] = c
			if err := l.openClient(c); err != nil {
				l.fail(err)
			}
			c.onUpgrade = func() { opened++ }
		}
		return opened == count
	})
	if err != nil {
		return nil, nil, err
	}
	opening = use.figures(count)
	use = startUsage(o)
	sent := 0
	err = l.run(time.Minute, func() bool {
		for ; sent < min(count, connected+connectsAtOnce); sent++ {
			clients[sent].command(clients[sent].connectCommand())
		}
		return connected == count
	})
	return opening, use.figures(count), err
}

// token signs a connection token (RFC 7519) with HMAC and SHA-256.
func token(secret, user string) string {
	claims := fmt.Sprintf(`{"sub":%q,"iat":%d,"exp":%d}`, user, time.Now().Unix(), time.Now().Add(time.Hour).Unix())
	signed := encode64([]byte(tokenHeader)) + "." + encode64([]byte(claims))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(signed))
	return signed + "." + encode64(mac.Sum(nil))
}

func encode64(data []byte) string {
	return base64.RawURLEncoding.EncodeToString(data)
}
