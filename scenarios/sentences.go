package scenarios

// The sentences of causes. Their texts are in the catalogues.
const (
	// How a connection broke.
	natExpired          SentenceID = "nat-expired"
	natFlushed          SentenceID = "nat-flushed"
	resetSent           SentenceID = "reset-sent"
	toxicEnded          SentenceID = "toxic-ended"
	idleClosed          SentenceID = "idle-closed"
	nodeRestarted       SentenceID = "node-restarted"
	nodeReplaced        SentenceID = "node-replaced"
	nodePaused          SentenceID = "node-paused"
	packetsBlocked      SentenceID = "packets-blocked"
	streamInspected     SentenceID = "stream-inspected"
	falseAlarmPing      SentenceID = "false-alarm-ping"
	falseAlarmHeartbeat SentenceID = "false-alarm-heartbeat"
	probeUnanswered     SentenceID = "probe-unanswered"
	peerClosed          SentenceID = "peer-closed"
	networkEnded        SentenceID = "network-ended"
	unanswered          SentenceID = "unanswered"
	unknownBreak        SentenceID = "unknown-break"
	nodeCrashed         SentenceID = "node-crashed"

	// How the client noticed.
	sawIt           SentenceID = "saw-it"
	sawAtOnce       SentenceID = "saw-at-once"
	wroteReset      SentenceID = "wrote-reset"
	wroteTold       SentenceID = "wrote-told"
	probeTimedOut   SentenceID = "probe-timed-out"
	blackHole       SentenceID = "black-hole"
	neverWrote      SentenceID = "never-wrote"
	tcpEndsAtRelay  SentenceID = "tcp-ends-at-relay"
	noKeepalive     SentenceID = "no-keepalive"
	noTrigger       SentenceID = "no-trigger"
	tcpSuspended    SentenceID = "tcp-suspended"
	notYetNoticed   SentenceID = "not-yet-noticed"
	probeGapTooLong SentenceID = "probe-gap-too-long"

	// What it did about it.
	noReconnect  SentenceID = "no-reconnect"
	gaveUp       SentenceID = "gave-up"
	gaveUpAtOnce SentenceID = "gave-up-at-once"
	stillTrying  SentenceID = "still-trying"
	backLossy    SentenceID = "back-lossy"
	backWhole    SentenceID = "back-whole"
	repeated     SentenceID = "repeated"

	// Why a client never had a connection.
	proxyWantsUser   SentenceID = "proxy-wants-user"
	proxyForbids     SentenceID = "proxy-forbids"
	proxyUnreachable SentenceID = "proxy-unreachable"
	dialFailed       SentenceID = "dial-failed"
	neverOpened      SentenceID = "never-opened"

	// Why a connection survived.
	keptAlive    SentenceID = "kept-alive"
	keptAliveTCP SentenceID = "kept-alive-tcp"
	keptBusy     SentenceID = "kept-busy"
	natRecovered SentenceID = "nat-recovered"
	delayed      SentenceID = "delayed"
	outlastedIt  SentenceID = "outlasted-pause"
	nothingBroke SentenceID = "nothing-broke"

	// Which limits of the expectation were not kept.
	overLost       SentenceID = "over-lost"
	overDuplicated SentenceID = "over-duplicated"
	overOutage     SentenceID = "over-outage"
	otherCause     SentenceID = "other-cause"
)

// catalogues are the texts by language. A text may name the arguments of its
// sentence in braces; one that begins with a mark goes on with the sentence before it.
func catalogues() map[Language]map[SentenceID]string {
	return map[Language]map[SentenceID]string{English: english, Japanese: japanese}
}

var english = map[SentenceID]string{
	natExpired:          "{Nat} dropped the mapping at {at}, {silence} after the last packet",
	natFlushed:          "{Nat} forgot its mappings at {at}",
	resetSent:           "{node} sent RST to both ends at {at}",
	toxicEnded:          "The toxic {toxic} at {node} ended the connection at {at}",
	idleClosed:          "{node} closed the connection at {at}, after {timeout} without a byte",
	nodeRestarted:       "{node} was restarted at {at} and was away for {down}",
	nodeReplaced:        "{node} was restarted at {at}",
	nodePaused:          "{node} stood still from {at}",
	packetsBlocked:      "{node} stopped the connection's packets at {at} ({rule})",
	streamInspected:     "{node} looked into the stream at {at} and acted on it ({rule})",
	falseAlarmPing:      "false alarm: the pong came after the timeout ({timeout}): it arrived {rtt} after the ping of {at}",
	falseAlarmHeartbeat: "false alarm: the answer came after the timeout ({timeout}): it arrived {rtt} after the heartbeat of {at}",
	probeUnanswered:     "The {means} of {at} got no answer within {timeout}; nothing on the way recorded why",
	peerClosed:          "The server closed the connection at {at} with code {code}",
	networkEnded:        "The connection ended at {at} ({error}); nothing on the way recorded why",
	unanswered:          "{messages} had no answer at the end; the last exchange was at {at}",
	unknownBreak:        "The connection stopped working after {at}; nothing on the way recorded why",
	nodeCrashed:         "The node {node} ended during the play, at {at} ({error})",

	sawIt:           "; the client saw it {after} later",
	sawAtOnce:       "; the client saw it at once",
	wroteReset:      "; the client wrote at {write} and was answered with a RST {after} later",
	wroteTold:       "; the client wrote at {write} and learned {after} later that the connection was gone",
	probeTimedOut:   "; the client's {means} of {sent} got no answer within {timeout}",
	blackHole:       "; the client wrote at {write} into a black hole",
	neverWrote:      "; the client did not write afterwards and could not know",
	tcpEndsAtRelay:  "TCP keepalive did not help: it ended at {relay}, which ends the client's TCP connection there, so {nat} saw no packet for {silence}",
	noKeepalive:     "; nothing told it, and it has no keepalive",
	noTrigger:       "; nothing told it, so its reconnect never began",
	tcpSuspended:    "; nothing told it: TCP keepalive does not run while data is unacknowledged",
	notYetNoticed:   "; its keepalive had not noticed when the play ended",
	probeGapTooLong: ": a {means} every {interval} is too slow for a timeout of {timeout}",

	noReconnect:  "It has no reconnect",
	gaveUp:       "It gave up after {attempts} ({error})",
	gaveUpAtOnce: "It gave up at once: {reason}",
	stillTrying:  "It was still trying when the play ended, after {attempts}",
	backLossy:    "A new connection was open {outage} after the break, with {lost} of {messages} lost",
	backWhole:    "A new connection was open {outage} after the break, and no message was lost",
	repeated:     "This happened {times}",

	proxyWantsUser:   "Never connected: {proxy} asked for a user and a password (407)",
	proxyForbids:     "Never connected: {proxy} refused the destination (403)",
	proxyUnreachable: "Never connected: {proxy} could not reach the server ({status})",
	dialFailed:       "Never connected: {stage} failed ({error})",
	neverOpened:      "Never connected, and nothing says why",

	keptAlive:    "{probes} kept the NAT mapping alive: the longest silence at {nat} was {silence}, its timeout is {timeout}",
	keptAliveTCP: "TCP keepalive kept the NAT mapping alive: the longest silence at {nat} was {silence}, its timeout is {timeout}",
	keptBusy:     "{probes} kept the connection busy: {node} closes it after {timeout} without a byte",
	natRecovered: "{Nat} dropped the mapping at {at}, but the next packet made it anew and the connection went on",
	delayed:      "The toxic {toxic} at {node} made answers take up to {rtt}; no timeout was shorter, and nothing was lost",
	outlastedIt:  "{node} stood still from {at} for {silence}; the client waited, and everything arrived",
	nothingBroke: "Nothing broke the connection; all {messages} arrived",

	overLost:       "Lost: {messages}, the scenario allows {limit}",
	overDuplicated: "Came twice: {messages}, the scenario allows {limit}",
	otherCause:     "The scenario expects a cause with the words \"{text}\"",
	overOutage:     "The outage was {d}, the scenario allows {limit}",
}

var japanese = map[SentenceID]string{
	natExpired:          "{Nat} は {at}の時点でマッピングを破棄した（最後のパケットから {silence}後）",
	natFlushed:          "{Nat} は {at}の時点ですべてのマッピングを失った",
	resetSent:           "{node} が {at}の時点で両端に RST を送った",
	toxicEnded:          "{node} の toxic {toxic} が {at}の時点で接続を終わらせた",
	idleClosed:          "{node} は {timeout}のあいだ 1 バイトも流れなかったため {at}の時点で接続を閉じた",
	nodeRestarted:       "{node} が {at}の時点で再起動し、{down}のあいだ不在だった",
	nodeReplaced:        "{node} が {at}の時点で再起動した",
	nodePaused:          "{node} が {at}の時点から停止した",
	packetsBlocked:      "{node} が {at}の時点でこの接続のパケットを止めた（{rule}）",
	streamInspected:     "{node} が {at}の時点で通信の中身を検査し、対処した（{rule}）",
	falseAlarmPing:      "誤検知: pong はタイムアウト（{timeout}）の後に届いた（{at}の ping から {rtt}後）",
	falseAlarmHeartbeat: "誤検知: 応答はタイムアウト（{timeout}）の後に届いた（{at}のハートビートから {rtt}後）",
	probeUnanswered:     "{at}の {means} に {timeout}以内の応答がなかった（途中のどのノードにも理由の記録がない）",
	peerClosed:          "サーバーが {at}の時点でコード {code} により接続を閉じた",
	networkEnded:        "接続は {at}の時点で終わった（{error}、途中のどのノードにも理由の記録がない）",
	unanswered:          "終了時に {messages}が未応答だった（最後のやり取りは {at}の時点）",
	unknownBreak:        "接続は {at}より後に機能しなくなった（途中のどのノードにも理由の記録がない）",
	nodeCrashed:         "ノード {node} が実行中の {at}の時点で終了した（{error}）",

	sawIt:           "クライアントは {after}後に気づいた",
	sawAtOnce:       "クライアントはただちに気づいた",
	wroteReset:      "クライアントは {write}の時点で送信し、{after}後に RST を受け取った",
	wroteTold:       "クライアントは {write}の時点で送信し、{after}後に接続がないことを知った",
	probeTimedOut:   "クライアントが {sent}の時点で送った {means} に {timeout}以内の応答がなかった",
	blackHole:       "クライアントは {write}の時点でブラックホールに向けて送信した",
	neverWrote:      "クライアントはその後送信せず、知るすべがなかった",
	tcpEndsAtRelay:  "TCP キープアライブは役に立たなかった。クライアントの TCP 接続は {relay} で終わるため、{nat} は {silence}のあいだパケットを見なかった",
	noKeepalive:     "誰も知らせず、キープアライブもない",
	noTrigger:       "誰も知らせないため、再接続は始まらなかった",
	tcpSuspended:    "未確認のデータがあるあいだ TCP キープアライブは動かないため、誰も知らせなかった",
	notYetNoticed:   "終了時までキープアライブは気づかなかった",
	probeGapTooLong: "{interval}ごとの {means} は {timeout}のタイムアウトには遅すぎる",

	noReconnect:  "再接続はしない設定である",
	gaveUp:       "{attempts}してあきらめた（{error}）",
	gaveUpAtOnce: "ただちにあきらめた: {reason}",
	stillTrying:  "終了時にもまだ再接続を試みていた（{attempts}）",
	backLossy:    "切断から {outage}後に新しい接続が開き、{messages}中 {lost} 件が失われた",
	backWhole:    "切断から {outage}後に新しい接続が開き、失われたメッセージはない",
	repeated:     "これが {times}起きた",

	proxyWantsUser:   "一度も接続できなかった: {proxy} がユーザー名とパスワードを求めた（407）",
	proxyForbids:     "一度も接続できなかった: {proxy} が宛先を拒否した（403）",
	proxyUnreachable: "一度も接続できなかった: {proxy} がサーバーに届かなかった（{status}）",
	dialFailed:       "一度も接続できなかった: {stage} の段階で失敗した（{error}）",
	neverOpened:      "一度も接続できず、理由の記録もない",

	keptAlive:    "{probes} が NAT のマッピングを保った（{nat} での最長の沈黙は {silence}、タイムアウトは {timeout}）",
	keptAliveTCP: "TCP キープアライブが NAT のマッピングを保った（{nat} での最長の沈黙は {silence}、タイムアウトは {timeout}）",
	keptBusy:     "{probes} により接続に通信が絶えなかった（{node} は {timeout}のあいだ 1 バイトも流れなければ閉じる）",
	natRecovered: "{Nat} は {at}の時点でマッピングを破棄したが、次のパケットで作り直され、接続は続いた",
	delayed:      "{node} の toxic {toxic} により応答に最大 {rtt}かかったが、それより短いタイムアウトはなく、何も失われなかった",
	outlastedIt:  "{node} は {at}の時点から {silence}のあいだ停止したが、クライアントは待ち、すべて届いた",
	nothingBroke: "接続を壊すものはなく、{messages}がすべて届いた",

	overLost:       "{messages}が失われた（シナリオの上限は {limit} 件）",
	overDuplicated: "{messages}が重複した（シナリオの上限は {limit} 件）",
	otherCause:     "シナリオは原因に \"{text}\" という語を期待している",
	overOutage:     "途絶は {d}だった（シナリオの上限は {limit}）",
}
