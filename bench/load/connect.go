package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"
)

const tokenHeader = `{"alg":"HS256","typ":"JWT"}`

// connect measures what it costs a server to accept, upgrade and authenticate clients, each with a token of its own.
func connect(o options) (figures, error) {
	l, err := newLoop(o.port)
	if err != nil {
		return nil, err
	}
	build := func(i int) *client {
		return &client{token: token(o.secret, fmt.Sprintf("user-%d", i)), onLine: func(*client, []byte) {}}
	}
	if _, err := l.openClients(o.connections/10, build); err != nil {
		return nil, err
	}
	use := startUsage(o.pid)
	if _, err := l.openClients(o.connections, build); err != nil {
		return nil, err
	}
	return use.figures(o.connections), nil
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
