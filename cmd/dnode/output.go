package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf8"
)

// The output formats.
const (
	asTable = "table"
	asJSON  = "json"
	asRaw   = "raw"
)

// text is bytes of a user in JSON: a string if they are UTF-8, otherwise
// {"b64": "..."}.
type text []byte

// MarshalJSON encodes the bytes so that they can be had back exactly.
func (b text) MarshalJSON() ([]byte, error) {
	if utf8.Valid(b) {
		return encodeJSON(string(b))
	}
	return encodeJSON(map[string]string{"b64": base64.StdEncoding.EncodeToString(b)})
}

// encodeJSON returns v in one line, without escaping what only HTML needs.
func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("cannot encode the output: %w", err)
	}
	return b.Bytes()[:b.Len()-1], nil
}

// writeJSON writes v and a newline.
func writeJSON(w io.Writer, v any) error {
	line, err := encodeJSON(v)
	if err != nil {
		return err
	}
	if _, err := w.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("cannot write the output: %w", err)
	}
	return nil
}
