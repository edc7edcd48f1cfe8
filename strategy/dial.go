package strategy

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/gorilla/websocket"
)

// RefusedError says that a handshake was answered with another status than 101.
type RefusedError struct {
	// Status is the HTTP status.
	Status int
	Err    error
}

// Error names the status.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("the handshake was answered with %d: %v", e.Status, e.Err)
}

// Unwrap returns the cause.
func (e *RefusedError) Unwrap() error { return e.Err }

// HTTPStatus returns the status. A [DialFunc] may return any error with this method to
// tell a refusal from a network that does not work.
func (e *RefusedError) HTTPStatus() int { return e.Status }

// refusal returns the HTTP status that an attempt to connect was refused with, or 0.
func refusal(err error) int {
	var refused interface{ HTTPStatus() int }
	if errors.As(err, &refused) {
		return refused.HTTPStatus()
	}
	return 0
}

// Dial returns a [DialFunc] that connects to a URL with a dialer of one's own. A
// handshake that is refused gives a [*RefusedError]. The header may be nil.
func Dial(dialer *websocket.Dialer, url string, header http.Header) DialFunc {
	return func(ctx context.Context) (*websocket.Conn, error) {
		ws, response, err := dialer.DialContext(ctx, url, header.Clone())
		if response != nil && response.Body != nil {
			_ = response.Body.Close() // it is in memory
		}
		if errors.Is(err, websocket.ErrBadHandshake) && response != nil {
			return nil, &RefusedError{Status: response.StatusCode, Err: err}
		}
		return ws, err
	}
}
