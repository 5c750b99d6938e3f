// Command peer is the server that gapless is measured beside: the public Centrifuge library with its memory
// broker, set up as Centrifugo sets it up by default, every channel with history and recovery.
package main

import (
	"context"
	"flag"
	"log"
	"net/http"
	"time"

	"github.com/centrifugal/centrifuge"
)

func main() {
	address := flag.String("address", "127.0.0.1:8000", "host:port to listen on")
	historySize := flag.Int("history-size", 1000, "messages kept per channel")
	historyTTL := flag.Duration("history-ttl", 300*time.Second, "age of a channel's history")
	flag.Parse()

	history := centrifuge.WithHistory(*historySize, *historyTTL)
	node, err := newNode(history)
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
func newNode(history centrifuge.PublishOption) (*centrifuge.Node, error) {
	node, err := centrifuge.New(centrifuge.Config{
		LogLevel:                    centrifuge.LogLevelNone,
		ClientQueueMaxSize:          1 << 20,
		ClientChannelLimit:          128,
		RecoveryMaxPublicationLimit: 300,
	})
	if err != nil {
		return nil, err
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{}}, nil
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
	return node, node.Run()
}
