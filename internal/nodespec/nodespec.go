// Package nodespec carries a node's spec from an engine to `wslab node`, in the
// environment of the node's process.
package nodespec

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/wslab/wslab/topology"
)

// The environment variables that hold a spec: one of them is set.
const (
	// Plain holds the spec as JSON.
	Plain = "WSLAB_SPEC"
	// Packed holds the spec as JSON, compressed with gzip and encoded in
	// standard base64, when it is too long for Plain.
	Packed = "WSLAB_SPEC_GZ"
)

// Linux takes at most 128 KiB for one string of the environment (MAX_ARG_STRLEN,
// execve(2)). What is longer than plainLimit is packed; what is longer than
// hardLimit even then cannot be carried.
const (
	plainLimit = 100 << 10
	hardLimit  = 128<<10 - 1
	// unpackedLimit bounds what a packed spec may grow to.
	unpackedLimit = 64 << 20
)

// Environ returns the NAME=value that carries the spec.
func Environ(spec topology.NodeSpec) (string, error) {
	raw, err := json.Marshal(spec)
	if err != nil {
		return "", fmt.Errorf("spec of node %s: %w", spec.Name, err)
	}
	if len(raw) <= plainLimit {
		return Plain + "=" + string(raw), nil
	}
	var packed bytes.Buffer
	packed.WriteString(Packed + "=")
	encoder := base64.NewEncoder(base64.StdEncoding, &packed)
	zipper := gzip.NewWriter(encoder)
	_, err = zipper.Write(raw)
	if err = errors.Join(err, zipper.Close(), encoder.Close()); err != nil {
		return "", fmt.Errorf("spec of node %s: %w", spec.Name, err)
	}
	if packed.Len() > hardLimit {
		return "", fmt.Errorf("spec of node %s is too large: %d bytes packed, at most %d", spec.Name, packed.Len(), hardLimit)
	}
	return packed.String(), nil
}

// FromEnviron returns the spec that one of the NAME=value strings carries, as
// [os.Environ] or an engine's record of a container have them.
func FromEnviron(environ []string) (topology.NodeSpec, error) {
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		switch name {
		case Plain:
			return decode([]byte(value))
		case Packed:
			raw, err := unpack(value)
			if err != nil {
				return topology.NodeSpec{}, fmt.Errorf("%s: %w", Packed, err)
			}
			return decode(raw)
		}
	}
	return topology.NodeSpec{}, fmt.Errorf("neither %s nor %s is set: only an engine starts a node", Plain, Packed)
}

func unpack(value string) ([]byte, error) {
	zipper, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(value)))
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(zipper, unpackedLimit+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > unpackedLimit {
		return nil, fmt.Errorf("over %d bytes", unpackedLimit)
	}
	return raw, nil
}

func decode(raw []byte) (topology.NodeSpec, error) {
	var spec topology.NodeSpec
	if err := json.Unmarshal(raw, &spec); err != nil {
		return topology.NodeSpec{}, fmt.Errorf("spec of the node: %w", err)
	}
	return spec, nil
}
