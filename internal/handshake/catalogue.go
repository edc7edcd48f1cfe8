package handshake

// The problems that a head can have.
const (
	// The text.
	headTooLong      ProblemID = "head-too-long"
	headNotEnded     ProblemID = "head-not-ended"
	dataAfterHead    ProblemID = "data-after-head"
	foldedLine       ProblemID = "folded-line"
	noColon          ProblemID = "no-colon"
	spaceBeforeColon ProblemID = "space-before-colon"
	badName          ProblemID = "bad-name"
	badByte          ProblemID = "bad-byte"

	// A request.
	isAResponse    ProblemID = "is-a-response"
	badRequestLine ProblemID = "bad-request-line"
	notGet         ProblemID = "not-get"
	oldHTTP        ProblemID = "http-version"
	fragment       ProblemID = "fragment"
	wsTarget       ProblemID = "ws-target"
	badTarget      ProblemID = "bad-target"
	noHost         ProblemID = "no-host"
	twoHosts       ProblemID = "two-hosts"
	badHost        ProblemID = "bad-host"
	noUpgrade      ProblemID = "no-upgrade"
	badUpgrade     ProblemID = "bad-upgrade"
	noConnection   ProblemID = "no-connection"
	badConnection  ProblemID = "bad-connection"
	noVersion      ProblemID = "no-version"
	twoVersions    ProblemID = "two-versions"
	wrongVersion   ProblemID = "wrong-version"
	noKey          ProblemID = "no-key"
	twoKeys        ProblemID = "two-keys"
	keyNotBase64   ProblemID = "key-not-base64"
	keySize        ProblemID = "key-size"
	requestBody    ProblemID = "request-body"
	noOrigin       ProblemID = "no-origin"
	twoOrigins     ProblemID = "two-origins"
	badOrigin      ProblemID = "bad-origin"
	badProtocols   ProblemID = "bad-protocols"
	badExtensions  ProblemID = "bad-extensions"
	declinedOffer  ProblemID = "declined-offer"

	// A response.
	badStatusLine       ProblemID = "bad-status-line"
	status200           ProblemID = "status-200"
	statusRedirect      ProblemID = "status-redirect"
	status400           ProblemID = "status-400"
	status401           ProblemID = "status-401"
	status403           ProblemID = "status-403"
	status404           ProblemID = "status-404"
	status405           ProblemID = "status-405"
	status407           ProblemID = "status-407"
	status426           ProblemID = "status-426"
	status5xx           ProblemID = "status-5xx"
	statusOther         ProblemID = "status-other"
	refusalLacks        ProblemID = "refusal-lacks"
	noAccept            ProblemID = "no-accept"
	twoAccepts          ProblemID = "two-accepts"
	wrongAccept         ProblemID = "wrong-accept"
	acceptIsKey         ProblemID = "accept-is-key"
	acceptUnchecked     ProblemID = "accept-unchecked"
	extensionTwice      ProblemID = "extension-twice"
	extensionNotOffered ProblemID = "extension-not-offered"
	badAnswer           ProblemID = "bad-answer"
	twoProtocols        ProblemID = "two-protocols"
	protocolList        ProblemID = "protocol-list"
	protocolNotOffered  ProblemID = "protocol-not-offered"
	switchingHasBody    ProblemID = "switching-has-body"
)

// catalogue is what there is to say of each problem.
var catalogue = map[ProblemID]entry{
	headTooLong: {"RFC 6585, section 5", 431,
		"the head is longer than {limit} bytes", "a server stops reading there and answers 431; large cookies are the usual reason",
		"ヘッダー部が {limit} バイトを超えている", "サーバーはそこで読むのをやめ 431 を返す。よくある原因は大きすぎる Cookie"},
	headNotEnded: {"RFC 9112, section 2.1", 0,
		"the empty line that ends the head is missing", "end the last line with CRLF and send CRLF once more: until then the other side waits",
		"ヘッダー部の終わりを示す空行がない", "最後の行を CRLF で終え、さらに CRLF を送る。それまで相手は待ち続ける"},
	dataAfterHead: {"RFC 6455, section 4.1", 0,
		"something follows the head", "a client sends nothing before it has the answer; what follows a 101 is frames",
		"ヘッダー部の後に続きがある", "クライアントは応答を受け取るまで何も送らない。101 の後に続くのはフレームである"},
	foldedLine: {"RFC 9112, section 5.2", 400,
		"the line begins with a space: folded header fields are obsolete", "write the field on one line",
		"行が空白で始まっている（折り返しは廃止された）", "ヘッダーフィールドは 1 行で書く"},
	noColon: {"RFC 9112, section 5", 400,
		"there is no colon in {value}", "a header field is a name, a colon and a value",
		"{value} にコロンがない", "ヘッダーフィールドは「名前: 値」の形で書く"},
	spaceBeforeColon: {"RFC 9112, section 5.1", 400,
		"there is a space between {field} and the colon", "take it out: servers have to answer 400",
		"{field} とコロンの間に空白がある", "空白を取り除く。サーバーは 400 を返さなければならない"},
	badName: {"RFC 9110, section 5.1", 400,
		"\"{value}\" cannot be the name of a field", "a name has letters, digits and hyphens",
		"「{value}」はフィールド名にならない", "名前には英数字とハイフンを使う"},
	badByte: {"RFC 9110, section 5.5", 400,
		"there is a control character in the value of {field}", "take it out",
		"{field} の値に制御文字がある", "取り除く"},

	isAResponse: {"RFC 6455, section 4.2.1", 400,
		"this is a response, not a request", "check it with --response",
		"これはリクエストではなくレスポンスである", "--response で調べる"},
	badRequestLine: {"RFC 9112, section 3", 400,
		"\"{value}\" is no request line", "write: GET /chat HTTP/1.1",
		"「{value}」はリクエスト行ではない", "GET /chat HTTP/1.1 のように書く"},
	notGet: {"RFC 6455, section 4.2.1, item 1", 405,
		"the method is {value}; a handshake is a GET", "send a GET; the server answers 405 with Allow: GET",
		"メソッドが {value} である。ハンドシェイクは GET で行う", "GET を送る。サーバーは Allow: GET を付けて 405 を返す"},
	oldHTTP: {"RFC 6455, section 4.2.1, item 1", 426,
		"the version is {value}; a handshake needs HTTP/1.1", "a proxy on the way may have changed it (nginx: proxy_http_version 1.1); an Upgrade in HTTP/1.0 is ignored (RFC 9110, section 7.8)",
		"バージョンが {value} である。ハンドシェイクには HTTP/1.1 が必要", "途中のプロキシが変えた可能性がある（nginx なら proxy_http_version 1.1）。HTTP/1.0 の Upgrade は無視される（RFC 9110, section 7.8）"},
	fragment: {"RFC 6455, section 3", 400,
		"there is a fragment in {value}", "leave out # and what follows it, or write %23",
		"{value} にフラグメントがある", "# 以降を取り除くか %23 と書く"},
	wsTarget: {"RFC 6455, section 4.1, item 2", 400,
		"{value} is no target of HTTP", "write the path alone, such as /chat; the host goes into Host",
		"{value} は HTTP のリクエストターゲットではない", "/chat のようにパスだけを書く。ホスト名は Host に書く"},
	badTarget: {"RFC 9112, section 3.2", 400,
		"{value} is no path", "begin with a slash, such as /chat",
		"{value} はパスではない", "/chat のようにスラッシュで始める"},
	noHost: {"RFC 6455, section 4.2.1, item 2", 400,
		"Host is missing", "add: Host: server.example",
		"Host がない", "Host: server.example を加える"},
	twoHosts: {"RFC 9112, section 3.2", 400,
		"there is more than one Host", "leave one",
		"Host が 2 つ以上ある", "1 つにする"},
	badHost: {"RFC 9110, section 7.2", 400,
		"\"{value}\" is no host", "write a name, with :PORT where it is not 80 or 443",
		"「{value}」はホスト名ではない", "名前を書き、ポートが 80 や 443 でなければ :ポート を付ける"},
	noUpgrade: {"RFC 6455, section 4.2.1, item 3", 426,
		"Upgrade is missing", "add: Upgrade: websocket; if the client has sent it, a proxy took it out (it is hop-by-hop, RFC 9110, section 7.6.1)",
		"Upgrade がない", "Upgrade: websocket を加える。クライアントが送ったのなら途中のプロキシが取り除いた（ホップごとのヘッダー、RFC 9110, section 7.6.1）"},
	badUpgrade: {"RFC 6455, section 4.2.1, item 3", 426,
		"Upgrade is \"{value}\"; the token websocket has to be in it", "write: Upgrade: websocket",
		"Upgrade が「{value}」で、トークン websocket を含まない", "Upgrade: websocket と書く"},
	noConnection: {"RFC 6455, section 4.2.1, item 4", 426,
		"Connection is missing", "add: Connection: Upgrade; if it was sent, a proxy took it out",
		"Connection がない", "Connection: Upgrade を加える。送ったのなら途中のプロキシが取り除いた"},
	badConnection: {"RFC 6455, section 4.2.1, item 4", 426,
		"Connection is \"{value}\"; the token Upgrade has to be in it", "write: Connection: Upgrade, or add it to the list: keep-alive, Upgrade",
		"Connection が「{value}」で、トークン Upgrade を含まない", "Connection: Upgrade と書くか、keep-alive, Upgrade のように加える"},
	noVersion: {"RFC 6455, section 4.2.1, item 6", 400,
		"Sec-WebSocket-Version is missing", "add: Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Version がない", "Sec-WebSocket-Version: 13 を加える"},
	twoVersions: {"RFC 6455, section 11.3.5", 400,
		"there is more than one Sec-WebSocket-Version", "leave one; only an answer may have several",
		"Sec-WebSocket-Version が 2 つ以上ある", "1 つにする。複数あってよいのは応答だけ"},
	wrongVersion: {"RFC 6455, section 4.4", 426,
		"Sec-WebSocket-Version is {value}; there is only 13", "write: Sec-WebSocket-Version: 13; the server answers 426 and names the versions that it knows",
		"Sec-WebSocket-Version が {value} である。使えるのは 13 だけ", "Sec-WebSocket-Version: 13 と書く。サーバーは 426 を返し、対応するバージョンを知らせる"},
	noKey: {"RFC 6455, section 4.2.1, item 5", 400,
		"Sec-WebSocket-Key is missing", "add 16 random bytes in base64, new ones for each connection",
		"Sec-WebSocket-Key がない", "接続ごとに新しい 16 バイトの乱数を base64 にして加える"},
	twoKeys: {"RFC 6455, section 11.3.1", 400,
		"there is more than one Sec-WebSocket-Key", "leave one",
		"Sec-WebSocket-Key が 2 つ以上ある", "1 つにする"},
	keyNotBase64: {"RFC 6455, section 4.2.1, item 5", 400,
		"Sec-WebSocket-Key \"{value}\" is not base64", "encode 16 random bytes in base64 with padding: 24 characters that end in ==",
		"Sec-WebSocket-Key「{value}」は base64 ではない", "16 バイトの乱数を base64（パディング付き、== で終わる 24 文字）にする"},
	keySize: {"RFC 6455, section 4.2.1, item 5", 400,
		"Sec-WebSocket-Key stands for {size} bytes; it has to be 16", "encode 16 random bytes in base64: 24 characters that end in ==",
		"Sec-WebSocket-Key は {size} バイトを表す。16 バイトでなければならない", "16 バイトの乱数を base64（== で終わる 24 文字）にする"},
	requestBody: {"RFC 6455, section 4.1", 400,
		"{field} announces a body", "a handshake has none: the client sends nothing more until it has the answer",
		"{field} が本文を予告している", "ハンドシェイクに本文はない。クライアントは応答まで何も送らない"},
	noOrigin: {"RFC 6455, section 10.2", 0,
		"there is no Origin", "a browser always sends one; a client that is none may leave it out",
		"Origin がない", "ブラウザーは必ず送る。ブラウザーでなければ省いてよい"},
	twoOrigins: {"RFC 6454, section 7.3", 400,
		"there is more than one Origin", "leave one",
		"Origin が 2 つ以上ある", "1 つにする"},
	badOrigin: {"RFC 6454, section 7.1", 400,
		"\"{value}\" is no origin", "an origin is scheme://host, with :port where it is not the scheme's own and without a path; or null",
		"「{value}」はオリジンではない", "scheme://host の形で書く（既定でないポートは :port、パスは付けない）。または null"},
	badProtocols: {"RFC 6455, section 4.1, item 10", 400,
		"Sec-WebSocket-Protocol \"{value}\" is no list of subprotocols: {why}", "write tokens with commas between them, each once, the preferred one first",
		"Sec-WebSocket-Protocol「{value}」はサブプロトコルのリストではない: {whyJa}", "トークンをコンマで区切り、重複なく、望ましい順に並べる"},
	badExtensions: {"RFC 6455, section 9.1", 400,
		"Sec-WebSocket-Extensions \"{value}\" cannot be read: {why}", "write such as: permessage-deflate; client_max_window_bits",
		"Sec-WebSocket-Extensions「{value}」を読めない: {whyJa}", "permessage-deflate; client_max_window_bits のように書く"},
	declinedOffer: {"RFC 7692, section 7.1", 0,
		"a server has to decline this offer of permessage-deflate: {why}", "the connection opens without compression, or with another offer",
		"サーバーはこの permessage-deflate の提案を断らなければならない: {whyJa}", "接続は圧縮なし、または別の提案で開く"},

	badStatusLine: {"RFC 9112, section 4", 0,
		"\"{value}\" is no status line", "what answered speaks no HTTP/1.1; a handshake is answered with HTTP/1.1 101 Switching Protocols",
		"「{value}」はステータス行ではない", "応答したのは HTTP/1.1 ではない。ハンドシェイクへの応答は HTTP/1.1 101 Switching Protocols"},
	status200: {"RFC 6455, section 4.1, item 1 of the answer", 0,
		"the answer is {value}: an ordinary page, not a WebSocket", "the path is not the WebSocket's, or a proxy took Upgrade out of the request, or a captive portal answered",
		"応答が {value} である。WebSocket ではなく通常のページが返った", "パスが違う、途中のプロキシが Upgrade を取り除いた、またはキャプティブポータルが応答した"},
	statusRedirect: {"RFC 6455, section 4.1, item 1 of the answer", 0,
		"the answer is {value}: a redirect", "browsers do not follow it; connect to the address in Location with ws or wss. A captive portal answers like this as well",
		"応答が {value} のリダイレクトである", "ブラウザーは追わない。Location の宛先に ws または wss で接続する。キャプティブポータルもこのように応答する"},
	status400: {"RFC 6455, section 4.2.1", 0,
		"the answer is {value}: the server found a fault in the request", "check the request with --request",
		"応答が {value} である。サーバーはリクエストに誤りを見つけた", "--request でリクエストを調べる"},
	status401: {"RFC 9110, section 15.5.2", 0,
		"the answer is {value}: the server wants credentials", "send Authorization, or log in first: a browser sends the cookie along",
		"応答が {value} である。サーバーは認証を求めている", "Authorization を送るか、先にログインする（ブラウザーは Cookie を送る）"},
	status403: {"RFC 6455, section 4.2.2, item 4", 0,
		"the answer is {value}: the server does not take the Origin, the token or the user; or a proxy forbids the destination", "compare Origin with what the server allows; a page has to be loaded from a site that is on its list",
		"応答が {value} である。サーバーが Origin、トークン、ユーザーのいずれかを拒否したか、プロキシが宛先を禁じている", "Origin をサーバーの許可リストと照らし合わせる"},
	status404: {"RFC 6455, section 4.2.2, item 4", 0,
		"the answer is {value}: there is no WebSocket at this path", "look at the path of the URL",
		"応答が {value} である。このパスに WebSocket はない", "URL のパスを確かめる"},
	status405: {"RFC 9110, section 15.5.6", 0,
		"the answer is {value}: the request was no GET", "a handshake is a GET",
		"応答が {value} である。リクエストが GET ではなかった", "ハンドシェイクは GET で行う"},
	status407: {"RFC 9110, section 15.5.8", 0,
		"the answer is {value}: a proxy on the way wants credentials", "it answers CONNECT, or a cleartext request; give the client the proxy's user and password",
		"応答が {value} である。途中のプロキシが認証を求めている", "プロキシのユーザー名とパスワードをクライアントに設定する"},
	status426: {"RFC 6455, section 4.4", 0,
		"the answer is {value}: the server saw no Upgrade, or another version than it knows", "look for Sec-WebSocket-Version in the answer; if the client asked for the Upgrade, a proxy took it out",
		"応答が {value} である。サーバーに Upgrade が届かなかったか、バージョンが合わない", "応答の Sec-WebSocket-Version を見る。クライアントが Upgrade を求めたのなら途中のプロキシが取り除いた"},
	status5xx: {"RFC 6455, section 4.1, item 1 of the answer", 0,
		"the answer is {value}: the server, or a proxy in front of it, cannot serve now", "try again later, with a wait that grows",
		"応答が {value} である。サーバーまたは手前のプロキシが今は応じられない", "待ち時間を延ばしながら後で再試行する"},
	statusOther: {"RFC 6455, section 4.1, item 1 of the answer", 0,
		"the answer is {value}, not 101", "the connection stays one of HTTP",
		"応答が 101 ではなく {value} である", "接続は HTTP のままである"},
	refusalLacks: {"RFC 9110, section 15.5", 0,
		"a {status} has to bring {field}", "add it: it tells the client what would be taken",
		"{status} には {field} が必要である", "加える。クライアントに何なら受け付けるかを伝えるものである"},
	noAccept: {"RFC 6455, section 4.2.2, item 5.4", 0,
		"Sec-WebSocket-Accept is missing", "what answered does not speak WebSocket; the value is calculated from the key",
		"Sec-WebSocket-Accept がない", "応答したものは WebSocket を話さない。値はキーから計算する"},
	twoAccepts: {"RFC 6455, section 11.3.3", 0,
		"there is more than one Sec-WebSocket-Accept", "leave one",
		"Sec-WebSocket-Accept が 2 つ以上ある", "1 つにする"},
	wrongAccept: {"RFC 6455, section 4.2.2, item 5.4", 0,
		"Sec-WebSocket-Accept is \"{value}\"; for the key {key} it has to be {want}", "join the key as text with the GUID, hash with SHA-1, and encode the 20 bytes (not their hex) in base64; a cache may also have answered with another connection's",
		"Sec-WebSocket-Accept が「{value}」である。キー {key} に対しては {want} でなければならない", "キーの文字列に GUID を連結し、SHA-1 の 20 バイト（16 進文字列ではない）を base64 にする。キャッシュが別の接続の応答を返した可能性もある"},
	acceptIsKey: {"RFC 6455, section 4.2.2, item 5.4", 0,
		"Sec-WebSocket-Accept is the key itself; it has to be {want}", "something sent the header back as it came; the server has to calculate it",
		"Sec-WebSocket-Accept がキーそのものである。{want} でなければならない", "ヘッダーがそのまま返されている。サーバーが計算しなければならない"},
	acceptUnchecked: {"RFC 6455, section 4.1, item 4 of the answer", 0,
		"Sec-WebSocket-Accept was not checked: the key is not known", "give --key, or the request with --request",
		"キーが分からないため Sec-WebSocket-Accept は調べていない", "--key か、--request でリクエストを与える"},
	extensionTwice: {"RFC 6455, section 9.1", 0,
		"{name} is in the answer twice", "a server picks one of the client's offers",
		"{name} が応答に 2 回ある", "サーバーは提案のうち 1 つを選ぶ"},
	extensionNotOffered: {"RFC 6455, section 4.1, item 5 of the answer", 0,
		"the client has not offered {name}", "a client ends the connection then; answer only what was offered",
		"クライアントは {name} を提案していない", "クライアントは接続を終える。提案されたものだけを返す"},
	badAnswer: {"RFC 7692, section 7.1", 0,
		"\"{value}\" does not answer the offer of permessage-deflate: {why}", "a client ends the connection then",
		"「{value}」は permessage-deflate の提案への応答にならない: {whyJa}", "クライアントは接続を終える"},
	twoProtocols: {"RFC 6455, section 11.3.4", 0,
		"there is more than one Sec-WebSocket-Protocol", "a server chooses one, or none",
		"Sec-WebSocket-Protocol が 2 つ以上ある", "サーバーは 1 つを選ぶか、選ばない"},
	protocolList: {"RFC 6455, section 4.2.2, item 5.5", 0,
		"\"{value}\" is no single subprotocol", "a server chooses one of the client's, or leaves the header out",
		"「{value}」は単一のサブプロトコルではない", "サーバーは提案から 1 つを選ぶか、ヘッダーを省く"},
	protocolNotOffered: {"RFC 6455, section 4.1, item 6 of the answer", 0,
		"the client has not offered the subprotocol {value}", "a client ends the connection then; leave the header out when there is none in common",
		"クライアントはサブプロトコル {value} を提案していない", "クライアントは接続を終える。共通のものがなければヘッダーを省く"},
	switchingHasBody: {"RFC 9110, section 8.6", 0,
		"{field} has no place in a 101", "take it out: what follows are frames",
		"101 に {field} があってはならない", "取り除く。この後に続くのはフレームである"},
}
