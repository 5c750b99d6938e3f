// Command peer is the server that gapless is measured beside: the public Centrifuge library with its memory
// broker, or its Redis broker where several nodes share one Redis, set up as Centrifugo sets it up by default, every
// channel with history and recovery.
package main

import (
	"context"
	"flag"
	"log"
	"net/http"
	"time"

	"github.com/centrifugal/centrifuge"
	"github.com/cristalhq/jwt/v5"
)

func main() {
	address := flag.String("address", "127.0.0.1:8000", "host:port to listen on")
	historySize := flag.Int("history-size", 1000, "messages kept per channel")
	historyTTL := flag.Duration("history-ttl", 300*time.Second, "age of a channel's history")
	secret := flag.String("secret", "secret", "what connection tokens are signed with")
	redis := flag.String("redis", "", "host:port of the Redis that nodes share; empty for memory")
	flag.Parse()

	history := centrifuge.WithHistory(*historySize, *historyTTL)
	node, err := newNode(history, []byte(*secret), *redis)
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/connection/websocket", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		CheckOrigin: func(*http.Request) bool { return true },
	}))
	api := newAPI(node, map[string]centrifuge.PublishOption{"bench": history})
	http.HandleFunc("POST /api/publish", handle(api.publish))
	http.HandleFunc("POST /api/broadcast", handle(api.broadcast))
	http.HandleFunc("POST /api/batch", handle(api.batch))
	log.Fatal(http.ListenAndServe(*address, nil))
}

// newNode starts a node with Centrifugo's limits: 128 channels and 1 MiB of queue per client, 300 messages a recovery.
func newNode(history centrifuge.PublishOption, secret []byte, redis string) (*centrifuge.Node, error) {
	node, err := centrifuge.New(centrifuge.Config{
		LogLevel:                    centrifuge.LogLevelNone,
		ClientQueueMaxSize:          1 << 20,
		ClientChannelLimit:          128,
		RecoveryMaxPublicationLimit: 300,
	})
	if err != nil {
		return nil, err
	}
	verifier, err := jwt.NewVerifierHS(jwt.HS256, secret)
	if err != nil {
		return nil, err
	}
	node.OnConnecting(func(_ context.Context, event centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		if event.Token == "" {
			return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{}}, nil
		}
		credentials, err := authenticate(verifier, event.Token)
		return centrifuge.ConnectReply{Credentials: credentials}, err
	})
	node.OnConnect(func(client *centrifuge.Client) {
		client.OnSubscribe(func(_ centrifuge.SubscribeEvent, done centrifuge.SubscribeCallback) {
			done(centrifuge.SubscribeReply{Options: centrifuge.SubscribeOptions{EnableRecovery: true}}, nil)
		})
		client.OnPublish(func(event centrifuge.PublishEvent, done centrifuge.PublishCallback) {
			result, err := node.Publish(event.Channel, event.Data, history, centrifuge.WithClientInfo(event.ClientInfo))
			done(centrifuge.PublishReply{Result: &result}, err)
		})
	})
	if redis != "" {
		if err := shareRedis(node, redis); err != nil {
			return nil, err
		}
	}
	return node, node.Run()
}

// shareRedis gives a node the broker of Centrifugo's Redis engine, with the engine's prefix and time limits. Presence,
// which is off by default, would be the engine's too.
func shareRedis(node *centrifuge.Node, address string) error {
	shard, err := centrifuge.NewRedisShard(node, centrifuge.RedisShardConfig{
		Address:        address,
		ConnectTimeout: time.Second,
		IOTimeout:      4 * time.Second,
	})
	if err != nil {
		return err
	}
	broker, err := centrifuge.NewRedisBroker(node, centrifuge.RedisBrokerConfig{
		Shards: []*centrifuge.RedisShard{shard},
		Prefix: "centrifugo",
	})
	if err != nil {
		return err
	}
	node.SetBroker(broker)
	return nil
}

// authenticate holds a connection token against its key and the time, as Centrifugo does with the same library.
func authenticate(verifier jwt.Verifier, token string) (*centrifuge.Credentials, error) {
	var claims jwt.RegisteredClaims
	if err := jwt.ParseClaims([]byte(token), verifier, &claims); err != nil {
		return nil, centrifuge.DisconnectInvalidToken
	}
	if !claims.IsValidExpiresAt(time.Now()) || !claims.IsValidNotBefore(time.Now()) {
		return nil, centrifuge.ErrorTokenExpired
	}
	credentials := &centrifuge.Credentials{UserID: claims.Subject}
	if claims.ExpiresAt != nil {
		credentials.ExpireAt = claims.ExpiresAt.Unix()
	}
	return credentials, nil
}
