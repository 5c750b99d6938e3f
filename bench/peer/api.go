package main

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/centrifugal/centrifuge"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/segmentio/encoding/json"
)

type publication struct {
	Data           json.RawMessage   `json:"data"`
	Tags           map[string]string `json:"tags"`
	IdempotencyKey string            `json:"idempotency_key"`
	Version        uint64            `json:"version"`
	VersionEpoch   string            `json:"version_epoch"`
	Delta          bool              `json:"delta"`
}

type publishRequest struct {
	Channel string `json:"channel"`
	publication
}

type broadcastRequest struct {
	Channels []string `json:"channels"`
	publication
}

type batchRequest struct {
	Commands []struct {
		Publish   *publishRequest   `json:"publish"`
		Broadcast *broadcastRequest `json:"broadcast"`
	} `json:"commands"`
}

type publishResult struct {
	Offset uint64 `json:"offset"`
	Epoch  string `json:"epoch"`
}

type apiError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

type publishResponse struct {
	Error  *apiError      `json:"error,omitempty"`
	Result *publishResult `json:"result,omitempty"`
}

type broadcastResult struct {
	Responses []publishResponse `json:"responses"`
}

type broadcastResponse struct {
	Result broadcastResult `json:"result"`
}

type batchReply struct {
	Error     *apiError        `json:"error,omitempty"`
	Publish   *publishResult   `json:"publish,omitempty"`
	Broadcast *broadcastResult `json:"broadcast,omitempty"`
}

type batchResponse struct {
	Replies []batchReply `json:"replies"`
}

var (
	errInternal       = &apiError{Code: 100, Message: "internal server error"}
	errUnknownChannel = &apiError{Code: 102, Message: "unknown channel"}
	errBadRequest     = &apiError{Code: 107, Message: "bad request"}
)

// api answers in the form of Centrifugo's server API, doing for each publication what Centrifugo does: it looks up the
// namespace, passes every option on and observes the time taken twice.
type api struct {
	node       *centrifuge.Node
	namespaces map[string]centrifuge.PublishOption // history by namespace
	summary    *prometheus.SummaryVec
	histogram  *prometheus.HistogramVec
}

func newAPI(node *centrifuge.Node, namespaces map[string]centrifuge.PublishOption) *api {
	labels := []string{"protocol", "method"}
	return &api{
		node:       node,
		namespaces: namespaces,
		summary: promauto.NewSummaryVec(prometheus.SummaryOpts{
			Name:       "api_command_duration_seconds",
			Objectives: map[float64]float64{0.5: 0.05, 0.99: 0.001, 0.999: 0.0001},
		}, labels),
		histogram: promauto.NewHistogramVec(prometheus.HistogramOpts{
			Name: "api_command_duration_seconds_histogram",
		}, labels),
	}
}

func (a *api) observe(began time.Time, method string) {
	seconds := time.Since(began).Seconds()
	a.summary.WithLabelValues("http", method).Observe(seconds)
	a.histogram.WithLabelValues("http", method).Observe(seconds)
}

// handle reads a JSON body, lets answer work on it and writes what it returns as JSON.
func handle[Request, Response any](answer func(Request) Response) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		var request Request
		if err := json.Unmarshal(body, &request); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		reply, err := json.Marshal(answer(request))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(reply)))
		_, _ = w.Write(reply)
	}
}

func (a *api) append(channel string, p publication) publishResponse {
	if channel == "" || len(p.Data) == 0 {
		return publishResponse{Error: errBadRequest}
	}
	namespace, _, _ := strings.Cut(channel, ":")
	history, found := a.namespaces[namespace]
	if !found {
		return publishResponse{Error: errUnknownChannel}
	}
	result, err := a.node.Publish(channel, p.Data, history, centrifuge.WithTags(p.Tags),
		centrifuge.WithIdempotencyKey(p.IdempotencyKey), centrifuge.WithDelta(p.Delta),
		centrifuge.WithVersion(p.Version, p.VersionEpoch))
	if err != nil {
		return publishResponse{Error: errInternal}
	}
	return publishResponse{Result: &publishResult{Offset: result.Offset, Epoch: result.Epoch}}
}

func (a *api) publish(request publishRequest) publishResponse {
	defer a.observe(time.Now(), "publish")
	return a.append(request.Channel, request.publication)
}

func (a *api) broadcast(request broadcastRequest) broadcastResponse {
	defer a.observe(time.Now(), "broadcast")
	responses := make([]publishResponse, len(request.Channels))
	for i, channel := range request.Channels {
		responses[i] = a.append(channel, request.publication)
	}
	return broadcastResponse{Result: broadcastResult{Responses: responses}}
}

func (a *api) batch(request batchRequest) batchResponse {
	replies := make([]batchReply, len(request.Commands))
	for i, command := range request.Commands {
		switch {
		case command.Publish != nil:
			response := a.publish(*command.Publish)
			replies[i] = batchReply{Error: response.Error, Publish: response.Result}
		case command.Broadcast != nil:
			broadcast := a.broadcast(*command.Broadcast)
			replies[i] = batchReply{Broadcast: &broadcast.Result}
		default:
			replies[i] = batchReply{Error: errBadRequest}
		}
	}
	return batchResponse{Replies: replies}
}
