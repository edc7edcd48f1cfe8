package proxy

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// ntlmAnswer is a client's answer to a challenge.
func ntlmAnswer(user, domain, password string, challenge []byte) []byte {
	blob := append([]byte{1, 1, 0, 0, 0, 0, 0, 0}, make([]byte, 24)...)
	m := &ntlmMessage{kind: ntlmAuthenticate, user: user, domain: domain}
	proof := m.proof(password, challenge, blob)
	message := append([]byte(ntlmSignature), ntlmAuthenticate, 0, 0, 0)
	var payload []byte
	field := func(b []byte) {
		offset := 64 + len(payload)
		message = append(message, byte(len(b)), byte(len(b)>>8), byte(len(b)), byte(len(b)>>8), byte(offset), byte(offset>>8), 0, 0)
		payload = append(payload, b...)
	}
	field(nil) // LmChallengeResponse
	field(append(proof, blob...))
	field(utf16LE(domain))
	field(utf16LE(user))
	field(nil) // Workstation
	field(nil) // EncryptedRandomSessionKey
	message = append(message, ntlmUnicode, 0, 0, 0)
	return append(message, payload...)
}

// The example of [MS-NLMP] section 4.2.4: user User, domain Domain, password Password.
func TestNTLMv2AsDocumented(t *testing.T) {
	challenge, _ := hex.DecodeString("0123456789abcdef")
	blob, _ := hex.DecodeString("0101000000000000" + "0000000000000000" + "aaaaaaaaaaaaaaaa" + "00000000" +
		"02000c0044006f006d00610069006e00" + "01000c00530065007200760065007200" + "00000000" + "00000000")
	want, _ := hex.DecodeString("68cd0ab851e51c96aabc927bebef6a1c")
	m := &ntlmMessage{kind: ntlmAuthenticate, user: "User", domain: "Domain"}
	if got := m.proof("Password", challenge, blob); !bytes.Equal(got, want) {
		t.Errorf("NTProofStr is %x, want %x", got, want)
	}
	m.response = append(want, blob...)
	if !m.proves("Password", challenge) || m.proves("password", challenge) {
		t.Error("the proof is not judged right")
	}
}

// FuzzNTLM parses what a client sends in Proxy-Authorization.
func FuzzNTLM(f *testing.F) {
	challenge := []byte("01234567")
	f.Add(append([]byte(ntlmSignature), 1, 0, 0, 0, 7, 0x82, 8, 0))
	f.Add(ntlmAnswer("alice", "ACME", "secret", challenge))
	f.Add(ntlmAnswer("", "", "", challenge))
	f.Add(ntlmAnswer("alice", "ACME", "secret", challenge)[:70])
	f.Add(ntlmChallengeMessage(challenge, "proxy", 0xffffffff))
	f.Add([]byte{0x60, 0x82, 1, 0})
	f.Fuzz(func(t *testing.T, token []byte) {
		m, err := parseNTLM(token)
		if err != nil {
			return
		}
		if m.kind == ntlmAuthenticate && m.user == "" {
			t.Error("a client without a name")
		}
		if m.proves("another password", challenge) {
			t.Error("anything proves anything")
		}
	})
}
