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

// connect measures what it costs a server to accept, upgrade and authenticate clients, each with a token of its own.
func connect(o options) (figures, error) {
	l, err := newLoop(o.port)
	if err != nil {
		return nil, err
	}
	if err := connectAll(l, o.secret, 0, o.connections/10); err != nil {
		return nil, err
	}
	use := startUsage(o.pid)
	if err := connectAll(l, o.secret, o.connections, o.connections); err != nil {
		return nil, err
	}
	return use.figures(o.connections), nil
}

// connectAll lets count clients connect, so many at once, and leave when they are connected.
func connectAll(l *loop, secret string, first, count int) error {
	tokens := make([]string, count)
	for i := range tokens {
		tokens[i] = token(secret, fmt.Sprintf("user-%d", first+i))
	}
	opened, done := 0, 0
	return l.run(time.Minute, func() bool {
		for ; opened < min(count, done+connectsAtOnce); opened++ {
			c := &client{token: tokens[opened], onLine: func(*client, []byte) {}}
			c.onReady = func(c *client, _ *reply) {
				done++
				c.close()
			}
			if err := l.openClient(c); err != nil {
				l.fail(err)
			}
		}
		return done == count
	})
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
