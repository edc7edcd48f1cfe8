// Package toxics runs Toxiproxy's toxics, and wslab's own, over a pair of connections.
//
// A [Chain] is an ordered list of toxics for each direction, and knows the pairs
// that are open: a toxic that is added reaches them, one that is removed leaves
// them open. [Chain.Pipe] carries the bytes of one pair until it is over.
//
// The toxics are those of github.com/Shopify/toxiproxy/v2/toxics, run by their own
// Pipe method on their own stubs. Its proxy, collection and link are not used: they
// take nothing but a *net.TCPConn, close the whole connection when one side has
// ended its half, lose bytes when a toxic is removed while the receiver does not
// read, and know nothing of the two directions as a pair. Here:
//
//   - a FIN is carried as a FIN (half-close), a RST as a RST, behind the bytes that
//     came before it;
//   - no byte is lost or reordered by adding, updating or removing toxics, except
//     those that a toxic is there to drop;
//   - adding, updating and removing take a bounded time, whether peers read or not;
//   - a toxic may act on the pair: one timer for both directions, a RST to both ends.
//
// A latency delays data, not the FIN behind it by itself: as in Toxiproxy, the end of
// a stream passes as soon as the last delayed byte has.
package toxics
