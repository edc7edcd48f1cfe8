package link

import (
	"time"

	"github.com/wslab/wslab/topology"
)

// Where figures of profiles are from.
const (
	webPageTest = "WebPageTest, www/settings/connectivity.ini"
	loadero     = "Loadero, network conditions (wiki.loadero.com)"
	wifiLatency = "Pei et al., WiFi Can Be the Weakest Link of Round Trip Network Latency in the Wild, INFOCOM 2016"
	atc         = "Augmented Traffic Control, utils/profiles"
)

// Profiles is the list of the conditions that have a name. A new one is added here and
// nowhere else. The figures are for one direction: of a round-trip time that a source gives,
// half; of two rates the one towards the client.
func Profiles() []*topology.Profile {
	profile := func(name, summary string, c Conditions, sources ...string) *topology.Profile {
		return &topology.Profile{Name: name, Summary: summary, Sources: sources, New: func() any { own := c; return &own }}
	}
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	return []*topology.Profile{
		profile("wifi-good", "Wi-Fi beside the access point.",
			Conditions{Delay: ms(1), Rate: 40_000_000},
			"Apple Network Link Conditioner, Wi-Fi: 40 Mbit/s, 1 ms"),
		profile("wifi-bad", "Wi-Fi at the edge of its range, or among many others.",
			Conditions{Delay: ms(50), Jitter: ms(40), Loss: 1},
			wifiLatency+": a tenth of the packets takes over 100 ms for the Wi-Fi hop alone",
			atc+", Edge - Lossy: 1% loss"),
		profile("hotel", "A hotel's Wi-Fi in the evening: as bad, and throttled.",
			Conditions{Delay: ms(50), Jitter: ms(40), Loss: 1, Rate: 1_000_000},
			"wifi-bad's",
			"P. Bogard, Hotel Internet Quality (pbogard.com): seldom above 1 Mbit/s"),
		profile("3g", "A mobile network of the third generation.",
			Conditions{Delay: ms(150), Rate: 1_600_000},
			webPageTest+", 3G: 1.6 Mbit/s, 300 ms round trip"),
		profile("4g", "A mobile network of the fourth generation.",
			Conditions{Delay: ms(35), Rate: 12_000_000},
			webPageTest+", LTE: 12 Mbit/s, 70 ms round trip"),
		profile("satellite", "A geostationary satellite.",
			Conditions{Delay: ms(280), Rate: 1_000_000},
			"RFC 2488, section 2: 279 ms one way at the edge of its view",
			loadero+", Satellite phone: 1000 kbit/s"),
		profile("dsl", "A telephone line.",
			Conditions{Delay: ms(25), Rate: 1_500_000},
			webPageTest+", DSL: 1.5 Mbit/s, 50 ms round trip"),
		profile("lossy", "One packet in ten is lost.",
			Conditions{Loss: 10},
			loadero+", 10% packetloss"),
	}
}

// NewConditions returns conditions that change nothing, for a file to be read into.
func NewConditions() any { return &Conditions{} }
