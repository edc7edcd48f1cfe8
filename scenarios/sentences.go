package scenarios

// The sentences of causes. Their texts are in the catalogues.
const (
	// How a connection broke.
	natExpired          SentenceID = "nat-expired"
	natFlushed          SentenceID = "nat-flushed"
	firewallExpired     SentenceID = "firewall-expired"
	firewallFlushed     SentenceID = "firewall-flushed"
	resetSent           SentenceID = "reset-sent"
	toxicEnded          SentenceID = "toxic-ended"
	toxicSwallows       SentenceID = "toxic-swallows"
	toxicForgot         SentenceID = "toxic-forgot"
	idleClosed          SentenceID = "idle-closed"
	natEvicted          SentenceID = "nat-evicted"
	addressChanged      SentenceID = "address-changed"
	natAddressChanged   SentenceID = "nat-address-changed"
	nodeRestarted       SentenceID = "node-restarted"
	nodeReplaced        SentenceID = "node-replaced"
	nodePaused          SentenceID = "node-paused"
	packetsBlocked      SentenceID = "packets-blocked"
	streamInspected     SentenceID = "stream-inspected"
	falseAlarmPing      SentenceID = "false-alarm-ping"
	falseAlarmHeartbeat SentenceID = "false-alarm-heartbeat"
	probeUnanswered     SentenceID = "probe-unanswered"
	serverSilent        SentenceID = "server-silent"
	peerClosed          SentenceID = "peer-closed"
	networkEnded        SentenceID = "network-ended"
	unanswered          SentenceID = "unanswered"
	unknownBreak        SentenceID = "unknown-break"
	nodeCrashed         SentenceID = "node-crashed"

	// How a client, or its machine, stood still itself.
	nodeAsleep               SentenceID = "node-asleep"
	natExpiredMeanwhile      SentenceID = "nat-expired-meanwhile"
	firewallExpiredMeanwhile SentenceID = "firewall-expired-meanwhile"
	clientStalled            SentenceID = "client-stalled"
	falseAlarmBusy           SentenceID = "false-alarm-busy"
	heldUp                   SentenceID = "held-up"
	keptToItself             SentenceID = "kept-to-itself"
	gaveUpMeanwhile          SentenceID = "gave-up-meanwhile"
	gaveUpUnheard            SentenceID = "gave-up-unheard"
	knewNothing              SentenceID = "knew-nothing"
	heldAnswerUp             SentenceID = "held-answer-up"
	probeHeldUp              SentenceID = "probe-held-up"
	probeHeldUpByNetwork     SentenceID = "probe-held-up-by-network"
	probeHeldUpByPlace       SentenceID = "probe-held-up-by-place"
	cameTooLate              SentenceID = "came-too-late"
	tcpNoBytes               SentenceID = "tcp-no-bytes"

	// How a link broke a connection.
	networkDown SentenceID = "network-down"
	placeDown   SentenceID = "place-down"

	// How a server ended a connection, or did not.
	serverClosed   SentenceID = "server-closed"
	serverLeft     SentenceID = "server-left"
	serverLimit    SentenceID = "server-limit"
	serverGaveUp   SentenceID = "server-gave-up"
	serverHung     SentenceID = "server-hung"
	serverVanished SentenceID = "server-vanished"

	// How a proxy ended a connection.
	idleClosedData       SentenceID = "idle-closed-data"
	idleClosedUpstream   SentenceID = "idle-closed-upstream"
	idleClosedDownstream SentenceID = "idle-closed-downstream"
	lifetimeOver         SentenceID = "lifetime-over"
	drained              SentenceID = "drained"
	limitExceeded        SentenceID = "limit-exceeded"
	closeFrameDropped    SentenceID = "close-frame-dropped"

	// How the client noticed.
	sawIt           SentenceID = "saw-it"
	sawAtOnce       SentenceID = "saw-at-once"
	wroteReset      SentenceID = "wrote-reset"
	wroteTold       SentenceID = "wrote-told"
	mappedAnew      SentenceID = "mapped-anew"
	probeTimedOut   SentenceID = "probe-timed-out"
	heardNothing    SentenceID = "heard-nothing"
	blackHole       SentenceID = "black-hole"
	neverWrote      SentenceID = "never-wrote"
	tcpEndsAtRelay  SentenceID = "tcp-ends-at-relay"
	tcpEndsBefore   SentenceID = "tcp-ends-before-firewall"
	noKeepalive     SentenceID = "no-keepalive"
	noTrigger       SentenceID = "no-trigger"
	tcpSuspended    SentenceID = "tcp-suspended"
	notYetNoticed   SentenceID = "not-yet-noticed"
	doubtedInVain   SentenceID = "doubted-in-vain"
	missedAddress   SentenceID = "missed-address"
	tcpUnanswered   SentenceID = "tcp-unanswered"
	sentAgain       SentenceID = "sent-again"
	resumedWhole    SentenceID = "resumed-whole"
	resumedFresh    SentenceID = "resumed-fresh"
	notResumed      SentenceID = "not-resumed"
	probeGapTooLong SentenceID = "probe-gap-too-long"
	tcpGapTooLong   SentenceID = "tcp-gap-too-long"
	wroteUnread     SentenceID = "wrote-unread"
	tcpAsksKernel   SentenceID = "tcp-asks-kernel"
	serverAsks      SentenceID = "server-asks"
	serverAsksBack  SentenceID = "server-asks-back"
	serverTooSlow   SentenceID = "server-too-slow"
	askedInVain     SentenceID = "asked-in-vain"
	notYetAsked     SentenceID = "not-yet-asked"
	watchPending    SentenceID = "watch-pending"

	// What it did about it.
	noReconnect  SentenceID = "no-reconnect"
	gaveUp       SentenceID = "gave-up"
	gaveUpAtOnce SentenceID = "gave-up-at-once"
	stillTrying  SentenceID = "still-trying"
	stillWaiting SentenceID = "still-waiting"
	tableFull    SentenceID = "table-full"
	namesFailed  SentenceID = "names-failed"
	wantedUser   SentenceID = "wanted-user"
	slowAnswer   SentenceID = "slow-answer"
	backLossy    SentenceID = "back-lossy"
	backWhole    SentenceID = "back-whole"
	repeated     SentenceID = "repeated"

	// Why a client never had a connection.
	proxyWantsUser   SentenceID = "proxy-wants-user"
	proxyForbids     SentenceID = "proxy-forbids"
	proxyUnreachable SentenceID = "proxy-unreachable"
	proxyWantsScheme SentenceID = "proxy-wants-scheme"
	proxyFull        SentenceID = "proxy-full"
	proxyAnswered    SentenceID = "proxy-answered"
	tlsIntercepted   SentenceID = "tls-intercepted"
	proxyStopped     SentenceID = "proxy-stopped"
	dialBlocked      SentenceID = "dial-blocked"
	dialInspected    SentenceID = "dial-inspected"
	upgradeStripped  SentenceID = "upgrade-stripped"
	captivePortal    SentenceID = "captive-portal"
	originRefused    SentenceID = "origin-refused"
	csrfRefused      SentenceID = "csrf-refused"
	sessionRefused   SentenceID = "session-refused"
	handshakeRefused SentenceID = "handshake-refused"
	handshakeSlow    SentenceID = "handshake-slow"
	dialFailed       SentenceID = "dial-failed"
	neverOpened      SentenceID = "never-opened"

	// Why a connection survived.
	keptAlive    SentenceID = "kept-alive"
	keptAliveTCP SentenceID = "kept-alive-tcp"
	keptRoom     SentenceID = "kept-room"
	keptRoomTCP  SentenceID = "kept-room-tcp"
	keptBusy     SentenceID = "kept-busy"
	keptBusyData SentenceID = "kept-busy-data"
	natRecovered SentenceID = "nat-recovered"

	keptTracked       SentenceID = "kept-tracked"
	keptTrackedTCP    SentenceID = "kept-tracked-tcp"
	firewallRecovered SentenceID = "firewall-recovered"
	streamSlowed      SentenceID = "stream-slowed"

	hijacked SentenceID = "hijacked"
	ownPage  SentenceID = "own-page"

	delayed     SentenceID = "delayed"
	pushesLate  SentenceID = "pushes-late"
	outlastedIt SentenceID = "outlasted-pause"
	sleptWell   SentenceID = "slept-well"
	stoodStill  SentenceID = "stood-still"
	thawed      SentenceID = "thawed"

	outlastedNetwork SentenceID = "outlasted-network"
	outlastedToxic   SentenceID = "outlasted-toxic"
	outlastedPlace   SentenceID = "outlasted-place"
	boreNetwork      SentenceID = "bore-network"
	borePlace        SentenceID = "bore-place"

	nothingBroke SentenceID = "nothing-broke"
	lostOnTheWay SentenceID = "lost-on-the-way"

	// What is known of a client that records nothing itself.
	programEnded   SentenceID = "program-ended"
	programClosed  SentenceID = "program-closed"
	programDropped SentenceID = "program-dropped"
	noAnswer       SentenceID = "no-answer"
	programGone    SentenceID = "program-gone"
	programLet     SentenceID = "program-let-go"
	programWrote   SentenceID = "program-wrote"
	noOther        SentenceID = "no-other-connection"
	programSaid    SentenceID = "program-said"
	programHung    SentenceID = "program-hung"
	programStopped SentenceID = "program-stopped"
	proxyRefused   SentenceID = "proxy-refused"
	proxyUnasked   SentenceID = "proxy-unasked"
	neverReached   SentenceID = "never-reached"
	endedEarly     SentenceID = "ended-early"
	neverTried     SentenceID = "never-tried"
	withoutSession SentenceID = "without-session"

	keptByProgram    SentenceID = "kept-by-program"
	trackedByProgram SentenceID = "tracked-by-program"
	busyByProgram    SentenceID = "busy-by-program"
	pingsAnswered    SentenceID = "pings-answered"

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
	firewallExpired:     "{Firewall} forgot the connection at {at}, {silence} after its last packet",
	firewallFlushed:     "{Firewall} was made to forget its connections at {at}",
	resetSent:           "{node} sent RST to both ends at {at}",
	toxicEnded:          "The toxic {toxic} at {node} ended the connection at {at}",
	toxicSwallows:       "The toxic {toxic} at {node} let nothing through from {at} on",
	toxicForgot:         "The toxic {toxic} at {node} forgot the connection at {at}",
	idleClosed:          "{node} closed the connection at {at}, after {timeout} without a byte",
	natEvicted:          "{Nat} had no room left and gave up the mapping at {at}, {silence} after its last packet",
	addressChanged:      "{node} had another address from {at} on ({addresses}); the connection was left behind with the old one",
	natAddressChanged:   "{Nat} had another address outside from {at} on ({addresses}); its mappings were gone with the old one",
	nodeRestarted:       "{node} was restarted at {at} and was away for {down}",
	nodeReplaced:        "{node} was restarted at {at}",
	nodePaused:          "{node} stood still from {at}",
	packetsBlocked:      "{node} stopped the connection's packets at {at} ({rule})",
	streamInspected:     "{node} looked into the stream at {at} and acted on it ({rule})",
	falseAlarmPing:      "False alarm: the pong came after the timeout ({timeout}): it arrived {rtt} after the ping of {at}",
	falseAlarmHeartbeat: "False alarm: the answer came after the timeout ({timeout}): it arrived {rtt} after the heartbeat of {at}",
	serverSilent:        "The client heard nothing from the server for {timeout} until {at}; nothing on the way recorded why",
	probeUnanswered:     "The {means} of {at} got no answer within {timeout}; nothing on the way recorded why",
	peerClosed:          "The server closed the connection at {at} with code {code}",
	networkEnded:        "The connection ended at {at} ({error}); nothing on the way recorded why",
	unanswered:          "{messages} had no answer at the end; the last exchange was at {at}",
	unknownBreak:        "The connection stopped working after {at}; nothing on the way recorded why",
	nodeCrashed:         "The node {node} ended during the play, at {at} ({error})",

	nodeAsleep:               "{node} was asleep from {at} on, for {silence}",
	natExpiredMeanwhile:      "; meanwhile {nat} dropped the mapping, {silence} after the last packet",
	firewallExpiredMeanwhile: "; meanwhile {firewall} forgot the connection, {silence} after its last packet",
	clientStalled:            "The client's program stood still from {at} on, for {silence}: it read nothing meanwhile, no answer either",
	falseAlarmBusy:           "False alarm: the {means} of {sent} got no answer within {timeout}, but {messages} of the server arrived in that time: the answer waited behind them",
	keptToItself:             "; {node} kept the close frame to itself and sent a FIN in its place",
	heldUp:                   "; the toxic {toxic} at {node} held them up",
	gaveUpMeanwhile:          "; meanwhile {node} gave the connection up, at {at}: {reason}",
	gaveUpUnheard:            "; {node} gave the connection up at {at}: {reason}, but the client did not hear of it",
	knewNothing:              "; {node} was back at {at}, and knew nothing of the connection",
	heldAnswerUp:             "; the toxic {toxic} at {node} held the answer up",
	probeHeldUp:              "The {means} of {at} got no answer within {timeout}, while the toxic {toxic} was at {node}",
	probeHeldUpByNetwork:     "The {means} of {at} got no answer within {timeout}, while network {network} had {conditions}",
	probeHeldUpByPlace:       "The {means} of {at} got no answer within {timeout}, while {node} had {conditions} on network {network}",
	cameTooLate:              "; the client's {means} of {sent} was on its way, and too late",
	tcpNoBytes:               "; TCP keepalive ends at {node}, and is no byte to it",

	networkDown: "Network {network} carried nothing from {at} on",
	placeDown:   "{node} was cut off from network {network} from {at} on",

	serverClosed:   "{node} closed the connection at {at} with code {code} ({meaning})",
	serverGaveUp:   "{node} gave the connection up at {at}: {reason}",
	serverLeft:     "{node} went down and ended the connection at {at} with {how}",
	serverLimit:    "{node} closed the connection at {at} with code 1009: the client sent {what}",
	serverHung:     "{node} hung from {at} on: its kernel acknowledged what came, and nobody read it",
	serverVanished: "{node} vanished for this connection at {at}, without a FIN or a RST: from then on nothing was acknowledged",

	idleClosedData:       "{node} closed the connection at {at}, after {timeout} without a message: pings do not count there",
	idleClosedUpstream:   "{node} closed the connection at {at}, after {timeout} without a byte from the client",
	idleClosedDownstream: "{node} closed the connection at {at}, after {timeout} without a byte from the server",
	lifetimeOver:         "{node} ended the connection at {at}, {age} after it was opened: its maximum lifetime is {lifetime}, and no keepalive prolongs it",
	drained:              "{node} was drained and ended the connection at {at} with {how}",
	limitExceeded:        "{node} ended the connection at {at} with close code 1009 ({what})",
	closeFrameDropped:    "{node} kept the close frame of {side} to itself at {at} and sent a FIN in its place",

	sawIt:           "; the client saw it {after} later",
	sawAtOnce:       "; the client saw it at once",
	wroteReset:      "; the client wrote at {write} and was answered with a RST {after} later",
	mappedAnew:      ": {nat} made a new mapping, {now} in place of {before}, which is nobody to the server",
	wroteTold:       "; the client wrote at {write} and learned {after} later that the connection was gone",
	heardNothing:    "; the client gave up at {at}, when it had heard nothing for {timeout}",
	probeTimedOut:   "; the client's {means} of {sent} got no answer within {timeout}",
	blackHole:       "; the client wrote at {write} into a black hole",
	neverWrote:      "; the client did not write afterwards and could not know",
	tcpEndsAtRelay:  "TCP keepalive did not help: it ended at {relay}, which ends the client's TCP connection there, so {nat} saw no packet for {silence}",
	tcpEndsBefore:   "TCP keepalive did not help: it ended at {relay}, which ends the client's TCP connection there, so {firewall} saw no packet for {silence}",
	noKeepalive:     "; nothing told it, and it has no keepalive",
	noTrigger:       "; nothing told it, so its reconnect never began",
	tcpSuspended:    "; nothing told it: TCP keepalive does not run while data is unacknowledged",
	sentAgain:       "The session was resumed: the client sent {messages} again, {node} {pushes}",
	resumedWhole:    "The session was resumed; nothing had to be sent again",
	resumedFresh:    "{node} knew nothing of the session: the client sent {messages} again, which may have arrived before",
	notResumed:      "The server does not resume sessions: what had not arrived was not sent again",
	tcpUnanswered:   "; TCP keepalive got no answer, and the client saw it {after} later",
	missedAddress:   "; the client saw {after} later that its machine had the address no more",
	doubtedInVain:   "The client doubted the connection {times}, and heard of it again before it had another",
	notYetNoticed:   "; its keepalive had not noticed when the play ended",
	probeGapTooLong: ": a {means} every {interval} is too slow for a timeout of {timeout}",
	tcpGapTooLong:   "; its TCP keepalive waits for {interval} of silence, which is too long for a timeout of {timeout}",
	wroteUnread:     "; the client wrote at {write}, and nobody read it",
	tcpAsksKernel:   "; nothing told it: TCP keepalive asks the server's kernel, not the server",
	serverAsks:      "; nothing told it: only its server asks, by a {means} every {interval}",
	serverAsksBack:  "; nothing told it, so its reconnect never began: only its server asks, by a {means} every {interval}",
	serverTooSlow:   ", which is too slow for a timeout of {timeout}",
	askedInVain:     "; its {means} of {sent} had no answer when the play ended, which was before the {timeout} for it were over",
	notYetAsked:     "; its next {means}, of one every {interval}, was not due before the play ended",
	watchPending:    "; the {timeout} of silence that it bears were not over when the play ended",

	noReconnect:  "It has no reconnect",
	gaveUp:       "It gave up after {attempts} ({error})",
	gaveUpAtOnce: "It gave up at once: {reason}",
	stillTrying:  "It was still trying when the play ended, after {attempts}",
	stillWaiting: "Its first attempt was to come {wait} after that, and the play ended before",
	tableFull:    "{Nat} had no room for a new one from {at} on ({rule})",
	namesFailed:  "Names could not be resolved at {node} from {at} on ({how})",
	wantedUser:   "{proxy} asked for another user and password from {at} on (407)",
	slowAnswer:   "{node} took more than the {patience} that the client waits for the answer to a handshake",
	backLossy:    "A new connection was open {outage} after the break, with {lost} of {messages} lost",
	backWhole:    "A new connection was open {outage} after the break, and no message was lost",
	repeated:     "This happened {times}",

	proxyWantsUser:   "Never connected: {proxy} asked for a user and a password (407)",
	proxyForbids:     "Never connected: {proxy} refused the destination (403)",
	proxyUnreachable: "Never connected: {proxy} could not reach the server ({status})",
	proxyWantsScheme: "Never connected: {proxy} did not take the client's credentials (407: {rule})",
	proxyFull:        "Never connected: {proxy} had no room for another client ({rule})",
	proxyAnswered:    "Never connected: {proxy} answered in the place of the server, {status} ({rule})",
	captivePortal:    "Never connected: {proxy} lets no client through before a login ({rule})",
	tlsIntercepted:   "Never connected: {proxy} opened the TLS connection with a certificate of {issuer}, which the client does not trust ({error})",
	proxyStopped:     "{node} had stopped packets of {proxy} ({rule})",
	dialBlocked:      "Never connected: {node} stopped the packets ({rule}); {stage} failed for the client ({error})",
	dialInspected:    "Never connected: {node} looked into the stream and acted on it ({rule}); {stage} failed for the client ({error})",
	upgradeStripped:  "Never connected: {proxy} took the Upgrade out of the request, which the server answered as an ordinary one ({status})",
	originRefused:    "Never connected: {node} checks Origin and answered {status}: {rule}",
	csrfRefused:      "Never connected: {node} checks the CSRF token and answered {status}: {rule}",
	sessionRefused:   "Never connected: {node} wants a login and answered {status}: {rule}",
	handshakeRefused: "Never connected: {node} refused the handshake with {status}: {rule}",
	handshakeSlow:    "Never connected: {node} took more than the {patience} that the client waits for the answer to a handshake",
	dialFailed:       "Never connected: {stage} failed ({error})",
	neverOpened:      "Never connected, and nothing says why",

	keptAlive:    "{probes} kept the NAT mapping alive: the longest silence at {nat} was {silence}, its timeout is {timeout}",
	keptAliveTCP: "TCP keepalive kept the NAT mapping alive: the longest silence at {nat} was {silence}, its timeout is {timeout}",
	keptRoom:     "{Nat} had no room left and gave up mappings that had been silent for {least} and more; {probes} kept this one: its longest silence was {silence}",
	keptRoomTCP:  "{Nat} had no room left and gave up mappings that had been silent for {least} and more; TCP keepalive kept this one: its longest silence was {silence}",
	keptBusy:     "{probes} kept the connection busy: {node} closes it after {timeout} without a byte",
	keptBusyData: "{probes} kept the connection busy: {node} closes it after {timeout} without a message",
	natRecovered: "{Nat} dropped the mapping at {at}, but the next packet made it anew and the connection went on",

	keptTracked:       "{probes} kept the connection in the firewall's memory: the longest silence at {firewall} was {silence}, its timeout is {timeout}",
	keptTrackedTCP:    "TCP keepalive kept the connection in the firewall's memory: the longest silence at {firewall} was {silence}, its timeout is {timeout}",
	firewallRecovered: "{Firewall} forgot the connection at {at}, but its rules let the next packet open it anew",
	streamSlowed:      "{node} looked into the stream and slowed it ({rule}): answers took up to {rtt}; no timeout was shorter, and nothing was lost",

	hijacked: "The attack worked: {node} took the page of {origin} for {user}, whose cookie the browser sent along, and asked for nothing else; all {messages} arrived",
	ownPage:  "{node} took its own page ({origin}), with the cookie of {user}; all {messages} arrived",

	pushesLate:       "The toxic {toxic} at {node} made the server's messages take up to {late}; nobody gave up for it, and nothing was lost",
	delayed:          "The toxic {toxic} at {node} made answers take up to {rtt}; no timeout was shorter, and nothing was lost",
	outlastedIt:      "{node} stood still from {at} for {silence}; the client waited, and everything arrived",
	sleptWell:        "{node} was asleep from {at} for {silence}; nobody on the way had forgotten the connection when it woke, and everything arrived",
	thawed:           "{node} stood still from {at} for {silence}; nobody hung up meanwhile, and everything arrived",
	stoodStill:       "The client's program stood still from {at} for {silence}; no timeout of its own was over meanwhile, and everything arrived",
	outlastedToxic:   "The toxic {toxic} at {node} let nothing through for {silence} from {at} on; the client waited, and everything arrived",
	outlastedNetwork: "Network {network} carried nothing for {silence} from {at} on; the client waited, TCP sent again what was lost, and everything arrived",
	outlastedPlace:   "{node} was cut off from network {network} for {silence} from {at} on; the client waited, TCP sent again what was lost, and everything arrived",
	boreNetwork:      "Network {network} had {conditions} from {at} on: answers took up to {rtt}; no timeout was shorter, and nothing was lost",
	borePlace:        "{node} had {conditions} on network {network} from {at} on: answers took up to {rtt}; no timeout was shorter, and nothing was lost",

	nothingBroke: "Nothing broke the connection; all {messages} arrived",
	lostOnTheWay: "Nothing broke the connection, but {lost} of {messages} never arrived",

	programEnded:   "The program ended by itself at {at} ({how}), before the play did",
	programClosed:  "The client closed the connection at {at} with code {code} ({meaning})",
	programDropped: "The connection ended at {at} from the client's side, without a close frame; nothing on the way recorded why",
	noAnswer:       "The client did not answer any more after {at}; nothing on the way recorded why",
	programGone:    "; the program ended at {at} ({how})",
	programLet:     "; the client let go of it at {at}",
	programWrote:   "; what the client sent at {write} was stopped at {node}",
	noOther:        "; no other connection of it came until the play ended",
	programSaid:    "Its last output: {lines}",
	programHung:    "The program did not end when it was told to (SIGTERM), and was killed",
	programStopped: "Never connected: {node} stopped what the client sent ({rule})",
	proxyRefused:   "Never connected: {proxy} refused with {status} ({rule})",
	proxyUnasked:   "Never connected: the way of this play leads through {proxy}, which was asked for nothing: the client has to use the proxy of HTTPS_PROXY",
	neverReached:   "Never connected: the program ended {after} after its start, in real time ({how}), and no handshake of it had reached the server",
	endedEarly:     "The program ended {after} after its start, in real time ({how})",
	neverTried:     "Never connected: the program was running, but no handshake of it reached the server, and nothing on the way recorded why",
	withoutSession: "{connections} came without the session: connect to WSLAB_URL as it is, its query included",

	keptByProgram:    "{heard} kept the NAT mapping alive: the longest silence at {nat} was {silence}, its timeout is {timeout}",
	trackedByProgram: "{heard} kept the connection in the firewall's memory: the longest silence at {firewall} was {silence}, its timeout is {timeout}",
	busyByProgram:    "{heard} kept the connection busy: {node} closes it after {timeout} without a byte",
	pingsAnswered:    "Nothing broke the connection; the client answered {node} each time ({pings})",

	overLost:       "Lost: {messages}, the scenario allows {limit}",
	overDuplicated: "Came twice: {messages}, the scenario allows {limit}",
	otherCause:     "The scenario expects a cause with the words \"{text}\"",
	overOutage:     "The outage was {d}, the scenario allows {limit}",
}

var japanese = map[SentenceID]string{
	natExpired:          "{Nat} は {at}の時点でマッピングを破棄した（最後のパケットから {silence}後）",
	natFlushed:          "{Nat} は {at}の時点ですべてのマッピングを失った",
	firewallExpired:     "{Firewall} は {at}の時点で接続を忘れた（最後のパケットから {silence}後）",
	firewallFlushed:     "{Firewall} は {at}の時点ですべての接続を忘れさせられた",
	resetSent:           "{node} が {at}の時点で両端に RST を送った",
	toxicEnded:          "{node} の toxic {toxic} が {at}の時点で接続を終わらせた",
	toxicSwallows:       "{node} の toxic {toxic} が {at}の時点から何も通さなくなった",
	toxicForgot:         "{node} の toxic {toxic} が {at}の時点で接続を忘れた",
	idleClosed:          "{node} は {timeout}のあいだ 1 バイトも流れなかったため {at}の時点で接続を閉じた",
	natEvicted:          "{Nat} はテーブルが満杯のため {at}の時点でマッピングを追い出した（最後のパケットから {silence}後）",
	addressChanged:      "{node} のアドレスが {at}の時点で変わった（{addresses}）。接続は古いアドレスとともに取り残された",
	natAddressChanged:   "{Nat} の外側のアドレスが {at}の時点で変わった（{addresses}）。マッピングは古いアドレスとともに失われた",
	nodeRestarted:       "{node} が {at}の時点で再起動し、{down}のあいだ不在だった",
	nodeReplaced:        "{node} が {at}の時点で再起動した",
	nodePaused:          "{node} が {at}の時点から停止した",
	packetsBlocked:      "{node} が {at}の時点でこの接続のパケットを止めた（{rule}）",
	streamInspected:     "{node} が {at}の時点で通信の中身を検査し、対処した（{rule}）",
	falseAlarmPing:      "誤検知: pong はタイムアウト（{timeout}）の後に届いた（{at}の ping から {rtt}後）",
	falseAlarmHeartbeat: "誤検知: 応答はタイムアウト（{timeout}）の後に届いた（{at}のハートビートから {rtt}後）",
	serverSilent:        "クライアントは {at}までの {timeout}間サーバーから何も受け取らなかった（途中のどのノードにも理由の記録がない）",
	probeUnanswered:     "{at}の {means} に {timeout}以内の応答がなかった（途中のどのノードにも理由の記録がない）",
	peerClosed:          "サーバーが {at}の時点でコード {code} により接続を閉じた",
	networkEnded:        "接続は {at}の時点で終わった（{error}、途中のどのノードにも理由の記録がない）",
	unanswered:          "終了時に {messages}が未応答だった（最後のやり取りは {at}の時点）",
	unknownBreak:        "接続は {at}より後に機能しなくなった（途中のどのノードにも理由の記録がない）",
	nodeCrashed:         "ノード {node} が実行中の {at}の時点で終了した（{error}）",

	nodeAsleep:               "{node} が {at}の時点から {silence}のあいだスリープした",
	natExpiredMeanwhile:      "その間に {nat} が最後のパケットから {silence}後にマッピングを破棄した",
	firewallExpiredMeanwhile: "その間に {firewall} が最後のパケットから {silence}後に接続を忘れた",
	clientStalled:            "クライアントのプログラムが {at}の時点から {silence}のあいだ止まり、応答も含めて何も読まなかった",
	falseAlarmBusy:           "誤検知: {sent}の {means} に {timeout}以内の応答がなかったが、その間にサーバーから {messages}が届いていた。応答はその後ろで待っていた",
	keptToItself:             "{node} はクローズフレームを通さず、代わりに FIN を送った",
	heldUp:                   "{node} の toxic {toxic} がそれらを遅らせた",
	gaveUpMeanwhile:          "その間に {node} は {at}の時点で接続をあきらめた（{reason}）",
	gaveUpUnheard:            "{node} は {at}の時点で接続をあきらめた（{reason}）が、クライアントには伝わらなかった",
	knewNothing:              "{node} は {at}の時点で戻ったが、この接続を知らなかった",
	heldAnswerUp:             "{node} の toxic {toxic} が応答を遅らせた",
	probeHeldUp:              "{node} に toxic {toxic} があるあいだ、{at}の {means} に {timeout}以内の応答がなかった",
	probeHeldUpByNetwork:     "ネットワーク {network} が {conditions} の状態にあるあいだ、{at}の {means} に {timeout}以内の応答がなかった",
	probeHeldUpByPlace:       "{node} がネットワーク {network} で {conditions} の状態にあるあいだ、{at}の {means} に {timeout}以内の応答がなかった",
	cameTooLate:              "クライアントが {sent}の時点で送った {means} は途中にあり、間に合わなかった",
	tcpNoBytes:               "TCP キープアライブは {node} で終わり、1 バイトとも数えられない",

	networkDown: "ネットワーク {network} が {at}の時点から何も運ばなくなった",
	placeDown:   "{node} が {at}の時点からネットワーク {network} から切り離された",

	serverClosed:   "{node} が {at}の時点でコード {code}（{meaning}）により接続を閉じた",
	serverGaveUp:   "{node} が {at}の時点で接続をあきらめた（{reason}）",
	serverLeft:     "{node} が停止し、{at}の時点で接続を終わらせた（{how}）",
	serverLimit:    "{node} が {at}の時点でコード 1009 により接続を閉じた（クライアントが送ったもの: {what}）",
	serverHung:     "{node} が {at}の時点からハングした。カーネルは届いたものに ACK を返したが、誰も読まなかった",
	serverVanished: "{node} が {at}の時点でこの接続から消えた。FIN も RST もなく、以後 ACK も返らなかった",

	idleClosedData:       "{node} は {timeout}のあいだメッセージが流れなかったため {at}の時点で接続を閉じた（ping は数えられない）",
	idleClosedUpstream:   "{node} は {timeout}のあいだクライアントから 1 バイトも来なかったため {at}の時点で接続を閉じた",
	idleClosedDownstream: "{node} は {timeout}のあいだサーバーから 1 バイトも来なかったため {at}の時点で接続を閉じた",
	lifetimeOver:         "{node} は {at}の時点で、開いてから {age}後の接続を終わらせた（接続の最長寿命は {lifetime}で、キープアライブでは延びない）",
	drained:              "{node} がドレインされ、{at}の時点で接続を終わらせた（{how}）",
	limitExceeded:        "{node} は {at}の時点でクローズコード 1009 により接続を終わらせた（{what}）",
	closeFrameDropped:    "{node} は {at}の時点で{side}のクローズフレームを通さず、代わりに FIN を送った",

	sawIt:           "クライアントは {after}後に気づいた",
	sawAtOnce:       "クライアントはただちに気づいた",
	wroteReset:      "クライアントは {write}の時点で送信し、{after}後に RST を受け取った",
	mappedAnew:      "{nat} は {before} に代えて {now} のマッピングを新たに作り、サーバーはそれを知らない",
	wroteTold:       "クライアントは {write}の時点で送信し、{after}後に接続がないことを知った",
	heardNothing:    "クライアントは {timeout}間何も受け取らず、{at}の時点であきらめた",
	probeTimedOut:   "クライアントが {sent}の時点で送った {means} に {timeout}以内の応答がなかった",
	blackHole:       "クライアントは {write}の時点でブラックホールに向けて送信した",
	neverWrote:      "クライアントはその後送信せず、知るすべがなかった",
	tcpEndsAtRelay:  "TCP キープアライブは役に立たなかった。クライアントの TCP 接続は {relay} で終わるため、{nat} は {silence}のあいだパケットを見なかった",
	tcpEndsBefore:   "TCP キープアライブは役に立たなかった。クライアントの TCP 接続は {relay} で終わるため、{firewall} は {silence}のあいだパケットを見なかった",
	noKeepalive:     "誰も知らせず、キープアライブもない",
	noTrigger:       "誰も知らせないため、再接続は始まらなかった",
	tcpSuspended:    "未確認のデータがあるあいだ TCP キープアライブは動かないため、誰も知らせなかった",
	sentAgain:       "セッションは再開された。クライアントは {messages}、{node} は {pushes}を送り直した",
	resumedWhole:    "セッションは再開され、送り直すものはなかった",
	resumedFresh:    "{node} はセッションを知らなかった。クライアントは {messages}を送り直したが、前に届いていたかもしれない",
	notResumed:      "サーバーはセッションを再開しないため、届かなかったものは送り直されなかった",
	tcpUnanswered:   "TCP キープアライブに応答がなく、クライアントは {after}後に気づいた",
	missedAddress:   "クライアントは {after}後に、自分のマシンがそのアドレスを失ったことに気づいた",
	doubtedInVain:   "クライアントは接続を {times}疑ったが、別の接続ができる前に応答が届いた",
	notYetNoticed:   "終了時までキープアライブは気づかなかった",
	probeGapTooLong: "{interval}ごとの {means} は {timeout}のタイムアウトには遅すぎる",
	tcpGapTooLong:   "{interval}の沈黙を待つ TCP キープアライブは {timeout}のタイムアウトには遅すぎる",
	wroteUnread:     "クライアントは {write}の時点で送信したが、誰も読まなかった",
	tcpAsksKernel:   "TCP キープアライブが問うのはサーバーのカーネルであってサーバーではないため、誰も知らせなかった",
	serverAsks:      "問うのはサーバーだけ（{interval}ごとの {means}）のため、誰も知らせなかった",
	serverAsksBack:  "問うのはサーバーだけ（{interval}ごとの {means}）のため、誰も知らせず、再接続は始まらなかった",
	serverTooSlow:   "それは {timeout}のタイムアウトには遅すぎる",
	askedInVain:     "{sent}の {means} には終了時に応答がなく、待ち時間の {timeout}はまだ過ぎていなかった",
	notYetAsked:     "{interval}ごとの {means} は、終了までに次の番が来なかった",
	watchPending:    "待つ沈黙の {timeout}は終了時にまだ過ぎていなかった",

	noReconnect:  "再接続はしない設定である",
	gaveUp:       "{attempts}してあきらめた（{error}）",
	gaveUpAtOnce: "ただちにあきらめた: {reason}",
	stillTrying:  "終了時にもまだ再接続を試みていた（{attempts}）",
	stillWaiting: "最初の試行はその {wait}後の予定で、それより先に終了した",
	tableFull:    "{Nat} には {at}の時点から新しい接続の余地がなかった（{rule}）",
	namesFailed:  "{node} では {at}の時点から名前を解決できなかった（{how}）",
	wantedUser:   "{proxy} が {at}の時点から別のユーザー名とパスワードを求めた（407）",
	slowAnswer:   "{node} のハンドシェイクへの応答は、クライアントが待つ {patience}より遅かった",
	backLossy:    "切断から {outage}後に新しい接続が開き、{messages}中 {lost} 件が失われた",
	backWhole:    "切断から {outage}後に新しい接続が開き、失われたメッセージはない",
	repeated:     "これが {times}起きた",

	proxyWantsUser:   "一度も接続できなかった: {proxy} がユーザー名とパスワードを求めた（407）",
	proxyForbids:     "一度も接続できなかった: {proxy} が宛先を拒否した（403）",
	proxyUnreachable: "一度も接続できなかった: {proxy} がサーバーに届かなかった（{status}）",
	proxyWantsScheme: "一度も接続できなかった: {proxy} がクライアントの認証情報を受け付けなかった（407: {rule}）",
	proxyFull:        "一度も接続できなかった: {proxy} に空きがなかった（{rule}）",
	proxyAnswered:    "一度も接続できなかった: {proxy} がサーバーの代わりに {status} で応答した（{rule}）",
	captivePortal:    "一度も接続できなかった: {proxy} はログインするまで通さない（{rule}）",
	tlsIntercepted:   "一度も接続できなかった: {proxy} が {issuer} の証明書で TLS を開いたが、クライアントはそれを信頼しない（{error}）",
	proxyStopped:     "{node} が {proxy} のパケットを止めていた（{rule}）",
	dialBlocked:      "一度も接続できなかった: {node} がパケットを止めた（{rule}）。クライアントは {stage} の段階で失敗した（{error}）",
	dialInspected:    "一度も接続できなかった: {node} が通信の中身を検査し、対処した（{rule}）。クライアントは {stage} の段階で失敗した（{error}）",
	upgradeStripped:  "一度も接続できなかった: {proxy} がリクエストから Upgrade を取り除き、サーバーは通常のリクエストとして応答した（{status}）",
	originRefused:    "一度も接続できなかった: {node} は Origin を検査し {status} で応答した（{rule}）",
	csrfRefused:      "一度も接続できなかった: {node} は CSRF トークンを検査し {status} で応答した（{rule}）",
	sessionRefused:   "一度も接続できなかった: {node} はログインを求め {status} で応答した（{rule}）",
	handshakeRefused: "一度も接続できなかった: {node} がハンドシェイクを {status} で拒否した（{rule}）",
	handshakeSlow:    "一度も接続できなかった: {node} のハンドシェイクへの応答は、クライアントが待つ {patience}より遅かった",
	dialFailed:       "一度も接続できなかった: {stage} の段階で失敗した（{error}）",
	neverOpened:      "一度も接続できず、理由の記録もない",

	keptAlive:    "{probes} が NAT のマッピングを保った（{nat} での最長の沈黙は {silence}、タイムアウトは {timeout}）",
	keptAliveTCP: "TCP キープアライブが NAT のマッピングを保った（{nat} での最長の沈黙は {silence}、タイムアウトは {timeout}）",
	keptRoom:     "{Nat} はテーブルが満杯のため {least}以上沈黙したマッピングを追い出したが、{probes} がこのマッピングを保った（最長の沈黙は {silence}）",
	keptRoomTCP:  "{Nat} はテーブルが満杯のため {least}以上沈黙したマッピングを追い出したが、TCP キープアライブがこのマッピングを保った（最長の沈黙は {silence}）",
	keptBusy:     "{probes} により接続に通信が絶えなかった（{node} は {timeout}のあいだ 1 バイトも流れなければ閉じる）",
	keptBusyData: "{probes} により接続に通信が絶えなかった（{node} は {timeout}のあいだメッセージが流れなければ閉じる）",
	natRecovered: "{Nat} は {at}の時点でマッピングを破棄したが、次のパケットで作り直され、接続は続いた",

	keptTracked:       "{probes} により {firewall} は接続を覚え続けた（最長の沈黙は {silence}、タイムアウトは {timeout}）",
	keptTrackedTCP:    "TCP キープアライブにより {firewall} は接続を覚え続けた（最長の沈黙は {silence}、タイムアウトは {timeout}）",
	firewallRecovered: "{Firewall} は {at}の時点で接続を忘れたが、規則により次のパケットで開き直され、接続は続いた",
	streamSlowed:      "{node} が通信の中身を検査して遅くした（{rule}）。応答に最大 {rtt}かかったが、それより短いタイムアウトはなく、何も失われなかった",

	hijacked: "攻撃は成功した: {node} は {origin} のページを {user} 本人とみなした（ブラウザーが Cookie を送り、ほかに何も求められなかった）。{messages}がすべて届いた",
	ownPage:  "{node} は自身のページ（{origin}）を {user} の Cookie とともに受け入れた。{messages}がすべて届いた",

	pushesLate:       "{node} の toxic {toxic} によりサーバーのメッセージに最大 {late}かかったが、そのためにあきらめる者はなく、何も失われなかった",
	delayed:          "{node} の toxic {toxic} により応答に最大 {rtt}かかったが、それより短いタイムアウトはなく、何も失われなかった",
	outlastedIt:      "{node} は {at}の時点から {silence}のあいだ停止したが、クライアントは待ち、すべて届いた",
	sleptWell:        "{node} は {at}の時点から {silence}のあいだスリープしたが、目覚めたとき途中のどのノードも接続を忘れておらず、すべて届いた",
	thawed:           "{node} は {at}の時点から {silence}のあいだ停止したが、その間に切断するものはなく、すべて届いた",
	stoodStill:       "クライアントのプログラムは {at}の時点から {silence}のあいだ止まったが、その間に切れるタイムアウトはなく、すべて届いた",
	outlastedToxic:   "{node} の toxic {toxic} が {at}の時点から {silence}のあいだ何も通さなかった。クライアントは待ち、すべて届いた",
	outlastedNetwork: "ネットワーク {network} が {at}の時点から {silence}のあいだ何も運ばなかった。クライアントは待ち、失われた分は TCP が再送し、すべて届いた",
	outlastedPlace:   "{node} が {at}の時点から {silence}のあいだネットワーク {network} から切り離された。クライアントは待ち、失われた分は TCP が再送し、すべて届いた",
	boreNetwork:      "ネットワーク {network} の状態が {at}の時点から {conditions} となり、応答に最大 {rtt}かかったが、それより短いタイムアウトはなく、何も失われなかった",
	borePlace:        "{node} のネットワーク {network} での状態が {at}の時点から {conditions} となり、応答に最大 {rtt}かかったが、それより短いタイムアウトはなく、何も失われなかった",

	nothingBroke: "接続を壊すものはなく、{messages}がすべて届いた",
	lostOnTheWay: "接続を壊すものはなかったが、{messages}中 {lost} 件が届かなかった",

	programEnded:   "プログラムが実行中の {at}の時点で自ら終了した（{how}）",
	programClosed:  "クライアントが {at}の時点でコード {code}（{meaning}）により接続を閉じた",
	programDropped: "接続は {at}の時点でクライアント側からクローズフレームなしに終わった（途中のどのノードにも理由の記録がない）",
	noAnswer:       "クライアントは {at}より後に応答しなくなった（途中のどのノードにも理由の記録がない）",
	programGone:    "プログラムは {at}の時点で終了した（{how}）",
	programLet:     "クライアントは {at}の時点でその接続を手放した",
	programWrote:   "クライアントが {write}の時点で送ったものは {node} で止められた",
	noOther:        "終了時までに別の接続は来なかった",
	programSaid:    "最後の出力: {lines}",
	programHung:    "プログラムは終了を求められても（SIGTERM）終わらず、強制終了された",
	programStopped: "一度も接続できなかった: {node} がクライアントの送ったものを止めた（{rule}）",
	proxyRefused:   "一度も接続できなかった: {proxy} が {status} で拒否した（{rule}）",
	proxyUnasked:   "一度も接続できなかった: {proxy} を通る道で、そこには何も求められなかった。クライアントは HTTPS_PROXY のプロキシーを使う必要がある",
	neverReached:   "一度も接続できなかった: プログラムは開始から実時間で {after}後に終了し（{how}）、ハンドシェイクはサーバーに届かなかった",
	endedEarly:     "プログラムは開始から実時間で {after}後に終了した（{how}）",
	neverTried:     "一度も接続できなかった: プログラムは動いていたが、ハンドシェイクはサーバーに届かず、途中のどのノードにも理由の記録がない",
	withoutSession: "{connections}がセッション名なしに届いた。WSLAB_URL はクエリーも含めてそのまま使うこと",

	keptByProgram:    "{heard} が NAT のマッピングを保った（{nat} での最長の沈黙は {silence}、タイムアウトは {timeout}）",
	trackedByProgram: "{heard} により {firewall} は接続を覚え続けた（最長の沈黙は {silence}、タイムアウトは {timeout}）",
	busyByProgram:    "{heard} により接続に通信が絶えなかった（{node} は {timeout}のあいだ 1 バイトも流れなければ閉じる）",
	pingsAnswered:    "接続を壊すものはなく、クライアントは {node} に毎回応答した（{pings}）",

	overLost:       "{messages}が失われた（シナリオの上限は {limit} 件）",
	overDuplicated: "{messages}が重複した（シナリオの上限は {limit} 件）",
	otherCause:     "シナリオは原因に \"{text}\" という語を期待している",
	overOutage:     "途絶は {d}だった（シナリオの上限は {limit}）",
}
