package strategy

import (
	"github.com/gorilla/websocket"
)

// Close codes of the IANA registry that gorilla/websocket does not name.
const (
	closeReserved   = 1004
	closeBadGateway = 1014
)

// CloseText explains a close code (RFC 6455, section 7.4, and the IANA registry) in
// a few words.
func CloseText(code int) string {
	switch code {
	case websocket.CloseNormalClosure:
		return "normal closure: the purpose is fulfilled"
	case websocket.CloseGoingAway:
		return "going away: the server goes down or the page was left"
	case websocket.CloseProtocolError:
		return "protocol error"
	case websocket.CloseUnsupportedData:
		return "data of a type that the peer cannot accept"
	case closeReserved:
		return "reserved, has no meaning yet"
	case websocket.CloseNoStatusReceived:
		return "closed without saying why: the close frame held no code"
	case websocket.CloseAbnormalClosure:
		return "abnormal closure: the connection ended without a close frame"
	case websocket.CloseInvalidFramePayloadData:
		return "message whose content does not fit its type, such as text that is not UTF-8"
	case websocket.ClosePolicyViolation:
		return "policy violation: the message is not allowed"
	case websocket.CloseMessageTooBig:
		return "message too big"
	case websocket.CloseMandatoryExtension:
		return "the server did not negotiate an extension that the client needs"
	case websocket.CloseInternalServerErr:
		return "internal error: the peer met a condition that it did not expect"
	case websocket.CloseServiceRestart:
		return "service restart: come back after a random wait"
	case websocket.CloseTryAgainLater:
		return "try again later: the server is overloaded"
	case closeBadGateway:
		return "bad gateway: a server on the way got an invalid answer from the one behind it"
	case websocket.CloseTLSHandshake:
		return "the TLS handshake failed"
	}
	switch {
	case code >= 3000 && code <= 3999:
		return "registered for a library or an application"
	case code >= 4000 && code <= 4999:
		return "private code of the application"
	}
	return "not a close code"
}

// Retryable says whether a connection that ended with this close code is worth
// replacing. It is not when the peer is done with the client (1000), nor when a new
// connection would meet the same end because of what the client sends or is.
func Retryable(code int) bool {
	switch code {
	case websocket.CloseNormalClosure,
		websocket.CloseProtocolError,
		websocket.CloseUnsupportedData,
		websocket.CloseInvalidFramePayloadData,
		websocket.ClosePolicyViolation,
		websocket.CloseMessageTooBig,
		websocket.CloseMandatoryExtension,
		websocket.CloseTLSHandshake:
		return false
	}
	return true
}
