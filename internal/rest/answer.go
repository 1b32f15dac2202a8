package rest

import (
	"net/http"
	"strconv"
)

// DocumentAnswer is an answer with the text of a document.
type DocumentAnswer struct {
	ContentType string
	Body        []byte
}

// Write answers with it.
func (a DocumentAnswer) Write(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", a.ContentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(a.Body)))
	_, err := w.Write(a.Body)
	return err
}
