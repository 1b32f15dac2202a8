package api

import (
	"context"
	"io"
	"net/http"
	"time"
)

// UploadArchive implements [StrictServerInterface].
func (s *Server) UploadArchive(ctx context.Context, r UploadArchiveRequestObject) (UploadArchiveResponseObject, error) {
	archive, err := s.backend.UploadArchive(ctx, s.counted(r.Body), value(r.Params.SHA256))
	return UploadArchive201JSONResponse(archive), err
}

// GetArchive implements [StrictServerInterface].
func (s *Server) GetArchive(ctx context.Context, r GetArchiveRequestObject) (GetArchiveResponseObject, error) {
	offset, complete, err := s.backend.ArchiveOffset(ctx, r.SHA256)
	return GetArchive200JSONResponse{SHA256: r.SHA256, Offset: offset, Complete: complete}, err
}

// AppendArchive implements [StrictServerInterface].
func (s *Server) AppendArchive(ctx context.Context, r AppendArchiveRequestObject) (AppendArchiveResponseObject, error) {
	_, err := s.backend.AppendArchive(ctx, r.SHA256, r.Params.Offset, s.counted(r.Body), value(r.Params.Last))
	if err != nil {
		return nil, err
	}
	offset, complete, err := s.backend.ArchiveOffset(ctx, r.SHA256)
	return AppendArchive200JSONResponse{SHA256: r.SHA256, Offset: offset, Complete: complete}, err
}

// patientBody lets an upload take as long as it takes, as long as something
// arrives. It also gives the answer the time that checking an archive takes.
func (s *Server) patientBody(w http.ResponseWriter, r *http.Request) io.ReadCloser {
	return &patientBody{ReadCloser: r.Body, control: http.NewResponseController(w)}
}

type patientBody struct {
	io.ReadCloser
	control *http.ResponseController
	next    time.Time
}

// Read implements [io.Reader].
func (b *patientBody) Read(p []byte) (int, error) {
	// A deadline costs a little: it is moved now and then, not at every read.
	if now := time.Now(); now.After(b.next) {
		b.next = now.Add(uploadIdle / 10)
		// Not every connection has deadlines.
		_ = b.control.SetReadDeadline(now.Add(uploadIdle))
		_ = b.control.SetWriteDeadline(now.Add(uploadIdle + examineTimeout))
	}
	return b.ReadCloser.Read(p)
}

// counted counts what is read.
func (s *Server) counted(r io.Reader) io.Reader { return &countedReader{r, s} }

type countedReader struct {
	io.Reader
	server *Server
}

// Read implements [io.Reader].
func (c *countedReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.server.uploads.Add(float64(n))
	return n, err
}
