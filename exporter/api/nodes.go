package api

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// ListNodes implements [StrictServerInterface].
func (s *Server) ListNodes(_ context.Context, r ListNodesRequestObject) (ListNodesResponseObject, error) {
	list, err := listNodes(s.backend.Nodes(), r.Params)
	if err != nil {
		return nil, err
	}
	return ListNodes200JSONResponse(list), nil
}

// GetNode implements [StrictServerInterface].
func (s *Server) GetNode(_ context.Context, r GetNodeRequestObject) (GetNodeResponseObject, error) {
	node, err := s.node(r.Name)
	return GetNode200JSONResponse(node), err
}

// AddNode implements [StrictServerInterface].
func (s *Server) AddNode(ctx context.Context, r AddNodeRequestObject) (AddNodeResponseObject, error) {
	if err := checkRegistration(*r.Body); err != nil {
		return nil, err
	}
	if err := s.backend.Add(ctx, *r.Body); err != nil {
		return nil, err
	}
	node, err := s.node(r.Body.Name)
	if err != nil {
		return nil, err
	}
	// Relative to the path of the request, it is right behind any proxy.
	location := "nodes/" + url.PathEscape(node.Name)
	return AddNode201JSONResponse{Body: node, Headers: AddNode201ResponseHeaders{Location: location}}, nil
}

// RemoveNode implements [StrictServerInterface].
func (s *Server) RemoveNode(ctx context.Context, r RemoveNodeRequestObject) (RemoveNodeResponseObject, error) {
	return RemoveNode204Response{}, s.backend.Remove(ctx, r.Name)
}

// SuspendNode implements [StrictServerInterface].
func (s *Server) SuspendNode(ctx context.Context, r SuspendNodeRequestObject) (SuspendNodeResponseObject, error) {
	if err := s.backend.Suspend(ctx, r.Name); err != nil {
		return nil, err
	}
	node, err := s.node(r.Name)
	return SuspendNode200JSONResponse(node), err
}

// ResumeNode implements [StrictServerInterface].
func (s *Server) ResumeNode(ctx context.Context, r ResumeNodeRequestObject) (ResumeNodeResponseObject, error) {
	if err := s.backend.Resume(ctx, r.Name); err != nil {
		return nil, err
	}
	node, err := s.node(r.Name)
	return ResumeNode200JSONResponse(node), err
}

// StreamEvents implements [StrictServerInterface].
func (s *Server) StreamEvents(ctx context.Context, r StreamEventsRequestObject) (StreamEventsResponseObject, error) {
	stream, err := s.stream(ctx, s.hub, value(r.Params.LastEventID))
	if err != nil {
		return nil, err // and not a nil stream that is not nil
	}
	return stream, nil
}

// stream makes the answer to somebody who follows a hub.
func (s *Server) stream(ctx context.Context, h *hub, lastID string) (*eventStream, error) {
	if s.streams.Add(1) > maxStreams {
		s.streams.Add(-1)
		return nil, Errorf(CodeUnavailable, "%d clients follow events already, and no more are served", maxStreams)
	}
	return &eventStream{
		ctx: ctx, hub: h, from: h.start(lastID), heartbeat: s.heartbeat,
		ended: func() { s.streams.Add(-1) },
	}, nil
}

// GetSpecYAML implements [StrictServerInterface].
func (s *Server) GetSpecYAML(context.Context, GetSpecYAMLRequestObject) (GetSpecYAMLResponseObject, error) {
	return specAnswer{"application/yaml", s.document.yaml}, nil
}

// GetSpecJSON implements [StrictServerInterface].
func (s *Server) GetSpecJSON(context.Context, GetSpecJSONRequestObject) (GetSpecJSONResponseObject, error) {
	return specAnswer{"application/json", s.document.json}, nil
}

// specAnswer is the document itself.
type specAnswer struct {
	contentType string
	body        []byte
}

// VisitGetSpecYAMLResponse implements [GetSpecYAMLResponseObject].
func (a specAnswer) VisitGetSpecYAMLResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitGetSpecJSONResponse implements [GetSpecJSONResponseObject].
func (a specAnswer) VisitGetSpecJSONResponse(w http.ResponseWriter) error { return a.write(w) }

func (a specAnswer) write(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", a.contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	_, err := w.Write(a.body)
	return err
}

func (s *Server) node(name string) (Node, error) {
	n, ok := s.backend.Node(name)
	if !ok {
		return Node{}, Errorf(CodeNotFound, "no node %q is known", name)
	}
	if n.Labels == nil { // never null in JSON
		n.Labels = map[string]string{}
	}
	return n, nil
}

// labelName is what Prometheus takes in a configuration file.
var labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// checkRegistration checks what openapi.yaml cannot say of a registration.
func checkRegistration(r NodeRegistration) error {
	var fields []FieldError
	wrong := func(pointer, format string, args ...any) {
		fields = append(fields, FieldError{Pointer: "#/" + pointer, Detail: fmt.Sprintf(format, args...)})
	}
	if r.Cookie != "" && r.CookieRef != "" {
		wrong("cookie", "at most one of cookie and cookie_ref can be given")
	}
	if r.Address != "" && r.EPMD != "" {
		wrong("epmd", "at most one of address and epmd can be given")
	}
	if r.Address != "" {
		if why := checkHostPort(r.Address); why != "" {
			wrong("address", "%s: %s", why, quote(r.Address))
		}
	}
	if why := checkEPMD(r.EPMD); why != "" {
		wrong("epmd", "%s: %s", why, quote(r.EPMD))
	}
	for name := range r.Labels {
		switch {
		case !labelName.MatchString(name):
			wrong("labels/"+pointerEscaper.Replace(name), "is no label name")
		case strings.HasPrefix(name, "__"):
			wrong("labels/"+pointerEscaper.Replace(name), "label names that begin with two underscores are reserved")
		}
	}
	return refusal(fields)
}

// checkEPMD says what is wrong with the address of an epmd, or nothing: a host
// has the usual port, and a port is one of the node's own host.
func checkEPMD(s string) string {
	if !strings.Contains(s, ":") {
		return ""
	}
	why := checkHostPort(s)
	if strings.HasPrefix(s, ":") {
		why = checkHostPort("localhost" + s)
	}
	if why == "is not host:port" {
		why = "is not host:port, host or :port"
	}
	return why
}

// checkHostPort says what is wrong with a host:port, or nothing.
func checkHostPort(s string) string {
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return "is not host:port"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "the port is not a number from 1 to 65535"
	}
	return ""
}
