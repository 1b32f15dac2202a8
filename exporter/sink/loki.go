package sink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/snappy"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/erlops/erlops/exporter/logs"
	"github.com/erlops/erlops/internal/unsaid"
)

const (
	lokiPush = "/loki/api/v1/push"
	// maxPush keeps a request below the 6 MB that Loki takes at once by default.
	maxPush = 5 << 20
	// maxAnswer bounds what is read of an answer.
	maxAnswer = 4 << 20
	// tenantHeader names the tenant where Loki serves several.
	tenantHeader = "X-Scope-OrgID"
)

// LokiOptions are those of a Loki. URL is required.
type LokiOptions struct {
	// URL is of the server, without the path of its API.
	URL *url.URL
	// Tenant is sent as X-Scope-OrgID; none when empty.
	Tenant string
	// Labels are on every stream, besides node, family, level and source.
	Labels map[string]string
	// Client has TLS and authentication; http.DefaultClient when nil.
	Client *http.Client
	// UserAgent is sent with every request.
	UserAgent string
}

// Loki is a Sender to, and a reader of, a Loki server. Node, family, level and
// source are labels; all else that is known of an entry is structured metadata.
type Loki struct {
	LokiOptions
	most int // bytes in a request; smaller after Loki has refused one as too large
}

// NewLoki returns a Loki; it asks nothing of the server.
func NewLoki(o LokiOptions) (*Loki, error) {
	if o.URL == nil || o.URL.Host == "" {
		return nil, errors.New("exporter/sink: LokiOptions.URL is missing")
	}
	if o.Client == nil {
		o.Client = http.DefaultClient
	}
	return &Loki{LokiOptions: o, most: maxPush}, nil
}

// Send implements Sender. A batch that is too large for one request is sent in
// several. How large they may be Loki, and what is before it, does not tell but
// by refusing them: they become smaller until they get through, and larger again
// afterwards.
func (l *Loki) Send(ctx context.Context, batch []logs.Entry) error {
	done, refused := 0, &RefusedError{}
	for done < len(batch) {
		piece := batch[done : done+fit(batch[done:], l.most)]
		err := l.push(ctx, piece)
		large, isLarge := errors.AsType[*tooLargeError](err)
		part, isRefused := errors.AsType[*RefusedError](err)
		switch {
		case isLarge && len(piece) == 1 && large.final:
			refused.Entries, refused.Err = refused.Entries+1, large.err
		case isLarge:
			l.most = max(min(l.most, size(piece))/2, 1)
			if large.final {
				continue
			}
			return partly(done, refused, large.err)
		case isRefused:
			refused.Entries, refused.Err = refused.Entries+part.Entries, part.Err
		case err != nil:
			return partly(done, refused, err)
		}
		l.most = min(2*l.most, maxPush)
		done += len(piece)
	}
	if refused.Entries > 0 {
		return refused
	}
	return nil
}

// partly is the error of a batch of which something is done.
func partly(done int, refused *RefusedError, err error) error {
	switch {
	case done == 0:
		return err
	case refused.Entries == 0:
		refused = nil
	}
	return &PartialError{Done: done, Refused: refused, Err: err}
}

// tooLargeError is the error of a request that gets through when it is smaller:
// at once when it is final, else perhaps also when it comes later.
type tooLargeError struct {
	final bool
	err   error
}

func (e *tooLargeError) Error() string { return e.err.Error() }

func size(batch []logs.Entry) int {
	sum := 0
	for _, e := range batch {
		sum += entryBytes(e)
	}
	return sum
}

// fit is how many entries of a batch go into a request of so many bytes.
func fit(batch []logs.Entry, bytes int) int {
	for i, e := range batch {
		if bytes -= entryBytes(e); bytes < 0 && i > 0 {
			return i
		}
	}
	return len(batch)
}

// entryBytes is the size of an entry in a request, at most.
func entryBytes(e logs.Entry) int {
	n := 64 + len(e.Message)
	for _, f := range e.Fields {
		n += 16 + len(f.Name) + len(f.Value)
	}
	return n
}

func (l *Loki) push(ctx context.Context, batch []logs.Entry) error {
	body := snappy.Encode(nil, l.encode(batch))
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, l.URL.JoinPath(lokiPush).String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-protobuf")
	answer, text, err := l.do(request) //nolint:bodyclose // do has closed it
	if err != nil {
		return err
	}
	err = errors.New(statusText(answer, text))
	switch code := answer.StatusCode; code {
	case http.StatusOK, http.StatusNoContent, http.StatusAccepted:
		return nil
	case http.StatusRequestEntityTooLarge:
		return &tooLargeError{final: true, err: err}
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return &RefusedError{Entries: ignored(text, len(batch)), Err: err}
	case http.StatusTooManyRequests:
		return &tooLargeError{err: later(answer, err)}
	}
	return later(answer, err)
}

// later is err with the time to come back, where the answer says that.
func later(answer *http.Response, err error) error {
	if after := retryAfter(answer.Header.Get("Retry-After")); after > 0 {
		return &RetryError{After: after, Err: err}
	}
	return err
}

// do sends a request and reads the beginning of the answer.
func (l *Loki) do(request *http.Request) (*http.Response, string, error) {
	if l.Tenant != "" {
		request.Header.Set(tenantHeader, l.Tenant)
	}
	if l.UserAgent != "" {
		request.Header.Set("User-Agent", l.UserAgent)
	}
	answer, err := l.Client.Do(request)
	if err != nil {
		return nil, "", fmt.Errorf("loki: %w", unsaid.Error(err))
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil && answer.StatusCode < 300 {
		err = nil // it has been taken, whatever else was to be said
	}
	return answer, string(text), err
}

func statusText(answer *http.Response, text string) string {
	text = strings.TrimSpace(logs.Clean(unsaid.Text(answer, text)))
	if len(text) > 500 {
		text = strings.ToValidUTF8(text[:500], "") + "..."
	}
	return fmt.Sprintf("loki answered %s: %s", answer.Status, text)
}

// Loki says of a request that it has not taken as a whole "2 errors like: ..." of
// what is wrong with entries themselves, and "total ignored: 2 out of 5 for stream"
// of what does not fit into a stream.
var refusedCounts = regexp.MustCompile(`(?:^|[:;] )(\d+) errors like: |total ignored: (\d+) out of \d+`)

// ignored is how many entries of a request Loki has not taken. It says so when
// it has taken others.
func ignored(text string, all int) int {
	sum := 0
	for _, found := range refusedCounts.FindAllStringSubmatch(text, -1) {
		n, err := strconv.Atoi(found[1] + found[2])
		if err != nil {
			return all
		}
		sum += n
	}
	if sum == 0 {
		return all
	}
	return min(sum, all)
}

// retryAfter reads the header of that name, which Loki leaves out and proxies
// may set.
func retryAfter(value string) time.Duration {
	if seconds, err := strconv.Atoi(value); err == nil && seconds > 0 {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return time.Until(at)
	}
	return 0
}

// Numbers of the fields of logproto.PushRequest, push.proto of Loki.
const (
	numStreams    = 1
	numLabels     = 1
	numEntries    = 2
	numTimestamp  = 1
	numLine       = 2
	numMetadata   = 3
	numPairName   = 1
	numPairValue  = 2
	numSeconds    = 1
	numNanosecond = 2
)

// streamKey is what labels are made of.
type streamKey struct {
	node, family string
	level        logs.Level
	source       logs.Source
}

// encode makes a PushRequest; within a stream, entries keep their order.
func (l *Loki) encode(batch []logs.Entry) []byte {
	streams := map[streamKey][]int{}
	var order []streamKey
	for i, e := range batch {
		k := streamKey{e.Node, e.Family, e.Level, e.Source}
		if _, ok := streams[k]; !ok {
			order = append(order, k)
		}
		streams[k] = append(streams[k], i)
	}
	var request, stream, entry []byte
	for _, k := range order {
		stream = protowire.AppendTag(stream[:0], numLabels, protowire.BytesType)
		stream = protowire.AppendString(stream, l.labels(k))
		for _, i := range streams[k] {
			entry = appendEntry(entry[:0], batch[i])
			stream = appendMessage(stream, numEntries, entry)
		}
		request = appendMessage(request, numStreams, stream)
	}
	return request
}

func appendMessage(b []byte, num protowire.Number, message []byte) []byte {
	b = protowire.AppendTag(b, num, protowire.BytesType)
	return protowire.AppendBytes(b, message)
}

func appendText(b []byte, num protowire.Number, s string) []byte {
	b = protowire.AppendTag(b, num, protowire.BytesType)
	return protowire.AppendString(b, s)
}

func appendEntry(b []byte, e logs.Entry) []byte {
	var pair [128]byte
	at := protowire.AppendTag(pair[:0], numSeconds, protowire.VarintType)
	at = protowire.AppendVarint(at, uint64(e.Time.Unix()))
	at = protowire.AppendTag(at, numNanosecond, protowire.VarintType)
	at = protowire.AppendVarint(at, uint64(e.Time.Nanosecond()))
	b = appendMessage(b, numTimestamp, at)
	b = appendText(b, numLine, e.Message)
	for _, f := range metadata(e) {
		p := appendText(pair[:0], numPairName, f.Name)
		p = appendText(p, numPairValue, f.Value)
		b = appendMessage(b, numMetadata, p)
	}
	return b
}

// fieldEvent is the structured metadata that Entry.Event becomes.
const fieldEvent = "event"

func metadata(e logs.Entry) []logs.Field {
	if e.Event == "" {
		return e.Fields
	}
	return append([]logs.Field{{Name: fieldEvent, Value: e.Event}}, e.Fields...)
}

// labels are those of a stream, as LogQL writes them.
func (l *Loki) labels(k streamKey) string {
	all := maps.Clone(l.Labels)
	if all == nil {
		all = map[string]string{}
	}
	all["node"], all["family"] = k.node, k.family
	all["level"], all["source"] = k.level.String(), string(k.source)
	var b strings.Builder
	b.WriteByte('{')
	for i, name := range slices.Sorted(maps.Keys(all)) {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(name + "=" + strconv.Quote(all[name]))
	}
	b.WriteByte('}')
	return b.String()
}
