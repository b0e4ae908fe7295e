// Package adobe adds Adobe's headers to requests, with tokens of ims-token-broker. Copy this file; it needs the standard library alone.
package adobe

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

const leeway = time.Minute // ask again when a token has less left

// Transport is an http.RoundTripper for one IMS organisation.
type Transport struct {
	BrokerURL string            // such as http://broker:8080
	Org       string            // the IMS org id
	KeyFile   string            // an API key or a projected service-account token; read for each request to the broker
	Base      http.RoundTripper // nil: http.DefaultTransport

	mu    sync.Mutex
	token token
}

type token struct {
	Value    string    `json:"access_token"`
	ClientID string    `json:"client_id"`
	Expires  time.Time `json:"expires_at"`
}

// RoundTrip sends req with Adobe's headers. On Adobe's 401013 it reports the token and sends req once more, if its body can be replayed.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	tok, err := t.current(req.Context())
	if err != nil {
		return nil, err
	}
	resp, err := t.send(req, tok)
	if err != nil || resp.StatusCode != http.StatusUnauthorized || (req.Body != nil && req.GetBody == nil) {
		return resp, err
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	var problem struct {
		Code any `json:"error_code"`
	}
	if json.Unmarshal(body, &problem) != nil || fmt.Sprint(problem.Code) != "401013" {
		return resp, nil
	}
	sum := sha256.Sum256([]byte(tok.Value))
	report := fmt.Sprintf(`{"token_sha256":%q}`, hex.EncodeToString(sum[:]))
	if tok, err = t.ask(req.Context(), http.MethodPost, "/token/report", report); err != nil {
		return resp, nil
	}
	return t.send(req, tok)
}

func (t *Transport) send(req *http.Request, tok token) (*http.Response, error) {
	out := req.Clone(req.Context())
	if req.GetBody != nil {
		out.Body, _ = req.GetBody()
	}
	out.Header.Set("Authorization", "Bearer "+tok.Value)
	out.Header.Set("x-api-key", tok.ClientID)
	out.Header.Set("x-gw-ims-org-id", t.Org)
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	return base.RoundTrip(out)
}

// current returns the token in memory, or a new one. While the broker is unavailable, a token is used to its end.
func (t *Transport) current(ctx context.Context) (token, error) {
	t.mu.Lock()
	tok := t.token
	t.mu.Unlock()
	left := time.Until(tok.Expires)
	if left > leeway {
		return tok, nil
	}
	fresh, err := t.ask(ctx, http.MethodGet, "/token", "")
	if err != nil && left > 0 {
		return tok, nil
	}
	return fresh, err
}

func (t *Transport) ask(ctx context.Context, method, path, body string) (token, error) {
	key, err := os.ReadFile(t.KeyFile)
	if err != nil {
		return token{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, t.BrokerURL+path+"?org="+url.QueryEscape(t.Org), strings.NewReader(body))
	if err != nil {
		return token{}, err
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(key)))
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return token{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return token{}, fmt.Errorf("the broker answered %s (request %s)", resp.Status, resp.Header.Get("x-request-id"))
	}
	var tok token
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<16)).Decode(&tok); err != nil {
		return token{}, err
	}
	t.mu.Lock()
	t.token = tok
	t.mu.Unlock()
	return tok, nil
}
