package proxy

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"

	//lint:ignore SA1019 NTLM is defined with it ([MS-NLMP] section 3.3.1)
	"golang.org/x/crypto/md4"
)

// The messages of NTLM ([MS-NLMP] section 2.2.1), as the field MessageType has them.
const (
	ntlmNegotiate    = 1
	ntlmChallenge    = 2
	ntlmAuthenticate = 3
)

// Flags of [MS-NLMP] section 2.2.2.5.
const (
	ntlmUnicode    = 0x00000001
	ntlmTarget     = 0x00000004
	ntlmNTLM       = 0x00000200
	ntlmAlwaysSign = 0x00008000
	ntlmDomain     = 0x00010000
	ntlmExtended   = 0x00080000
	ntlmTargetInfo = 0x00800000
	ntlm128        = 0x20000000
	ntlm56         = 0x80000000
)

const ntlmSignature = "NTLMSSP\x00"

// ntlmMessage is what a client sends: a NEGOTIATE_MESSAGE or an AUTHENTICATE_MESSAGE.
type ntlmMessage struct {
	kind         int
	flags        uint32
	domain, user string
	// response to the challenge, as NTLMv2 has it.
	response []byte
}

var errNTLMShort = errors.New("the NTLM message is cut off")

// parseNTLM reads a message of a client.
func parseNTLM(token []byte) (*ntlmMessage, error) {
	switch {
	case len(token) > 0 && token[0] == 0x60: // ASN.1: RFC 4178 section 4.2
		return nil, errors.New("it is of SPNEGO or Kerberos, and only NTLM is understood")
	case !strings.HasPrefix(string(token), ntlmSignature):
		return nil, errors.New("it does not begin as NTLM does")
	case len(token) < 16:
		return nil, errNTLMShort
	}
	m := &ntlmMessage{kind: int(binary.LittleEndian.Uint32(token[8:]))}
	switch m.kind {
	case ntlmNegotiate:
		m.flags = binary.LittleEndian.Uint32(token[12:])
		return m, nil
	case ntlmAuthenticate:
		return m, m.parseAuthenticate(token)
	}
	return nil, fmt.Errorf("a client does not send NTLM messages of type %d", m.kind)
}

// parseAuthenticate is [MS-NLMP] section 2.2.1.3.
func (m *ntlmMessage) parseAuthenticate(token []byte) error {
	if len(token) < 64 {
		return errNTLMShort
	}
	m.flags = binary.LittleEndian.Uint32(token[60:])
	var fields [3][]byte
	for i, at := range []int{20, 28, 36} { // NtChallengeResponse, DomainName, UserName
		size, offset := int(binary.LittleEndian.Uint16(token[at:])), uint64(binary.LittleEndian.Uint32(token[at+4:]))
		if offset+uint64(size) > uint64(len(token)) {
			return errNTLMShort
		}
		fields[i] = token[offset : offset+uint64(size)]
	}
	m.response = fields[0]
	m.domain, m.user = m.text(fields[1]), m.text(fields[2])
	if m.user == "" {
		return errors.New("the client sent no user (an anonymous NTLM message)")
	}
	return nil
}

// text is a text of the message: UTF-16, or bytes of a character set that nobody names.
func (m *ntlmMessage) text(b []byte) string {
	if m.flags&ntlmUnicode == 0 {
		return string(b)
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}

func utf16LE(text string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(text)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

// ntlmChallengeMessage is [MS-NLMP] section 2.2.1.2. Its target info makes clients answer with NTLMv2.
func ntlmChallengeMessage(challenge []byte, name string, asked uint32) []byte {
	target := utf16LE(strings.ToUpper(name))
	var info []byte
	for _, id := range []uint16{2, 1} { // MsvAvNbDomainName, MsvAvNbComputerName
		info = binary.LittleEndian.AppendUint16(info, id)
		info = binary.LittleEndian.AppendUint16(info, uint16(len(target)))
		info = append(info, target...)
	}
	info = append(info, 0, 0, 0, 0) // MsvAvEOL
	const fixed = 48
	flags := uint32(ntlmUnicode | ntlmTarget | ntlmNTLM | ntlmAlwaysSign | ntlmDomain | ntlmExtended | ntlmTargetInfo)
	flags |= asked & (ntlm128 | ntlm56)
	payload := func(b []byte, size, offset int) []byte {
		b = binary.LittleEndian.AppendUint16(b, uint16(size))
		b = binary.LittleEndian.AppendUint16(b, uint16(size))
		return binary.LittleEndian.AppendUint32(b, uint32(offset))
	}
	b := append([]byte(ntlmSignature), ntlmChallenge, 0, 0, 0)
	b = payload(b, len(target), fixed)
	b = binary.LittleEndian.AppendUint32(b, flags)
	b = append(b, challenge...)
	b = append(b, make([]byte, 8)...)
	b = payload(b, len(info), fixed+len(target))
	return append(append(b, target...), info...)
}

// proves says whether the message answers a challenge with a password: NTLMv2. Answers of NTLM
// before it are not taken.
func (m *ntlmMessage) proves(password string, challenge []byte) bool {
	if m.kind != ntlmAuthenticate || len(m.response) <= 24 {
		return false
	}
	return hmac.Equal(m.response[:16], m.proof(password, challenge, m.response[16:]))
}

// proof is NTProofStr of [MS-NLMP] section 3.3.2.
func (m *ntlmMessage) proof(password string, challenge, blob []byte) []byte {
	hash := md4.New()
	hash.Write(utf16LE(password))
	key := keyed(hash.Sum(nil), utf16LE(strings.ToUpper(m.user)+m.domain))
	return keyed(key, challenge, blob)
}

func keyed(key []byte, data ...[]byte) []byte {
	mac := hmac.New(md5.New, key)
	for _, d := range data {
		mac.Write(d)
	}
	return mac.Sum(nil)
}
