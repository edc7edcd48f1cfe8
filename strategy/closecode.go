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

// CloseTextJapanese is [CloseText] in Japanese.
func CloseTextJapanese(code int) string {
	switch code {
	case websocket.CloseNormalClosure:
		return "正常終了: 目的を果たした"
	case websocket.CloseGoingAway:
		return "離脱: サーバーの停止またはページの移動"
	case websocket.CloseProtocolError:
		return "プロトコル違反"
	case websocket.CloseUnsupportedData:
		return "受け入れられない種類のデータ"
	case closeReserved:
		return "予約済み、まだ意味はない"
	case websocket.CloseNoStatusReceived:
		return "コードのないクローズフレーム"
	case websocket.CloseAbnormalClosure:
		return "異常終了: クローズフレームなしに接続が終わった"
	case websocket.CloseInvalidFramePayloadData:
		return "種類に合わない内容のメッセージ（UTF-8 でないテキストなど）"
	case websocket.ClosePolicyViolation:
		return "ポリシー違反: 許されないメッセージ"
	case websocket.CloseMessageTooBig:
		return "メッセージが大きすぎる"
	case websocket.CloseMandatoryExtension:
		return "クライアントが必要とする拡張にサーバーが応じなかった"
	case websocket.CloseInternalServerErr:
		return "内部エラー: 相手に予期しない事態が起きた"
	case websocket.CloseServiceRestart:
		return "サービスの再起動: 不規則に待ってから接続し直す"
	case websocket.CloseTryAgainLater:
		return "後で再試行: サーバーが過負荷である"
	case closeBadGateway:
		return "不正なゲートウェイ: 途中のサーバーが背後から不正な応答を受けた"
	case websocket.CloseTLSHandshake:
		return "TLS ハンドシェイクの失敗"
	}
	switch {
	case code >= 3000 && code <= 3999:
		return "ライブラリーやアプリケーションの登録コード"
	case code >= 4000 && code <= 4999:
		return "アプリケーション独自のコード"
	}
	return "クローズコードではない"
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
