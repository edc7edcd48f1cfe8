package node

import (
	"encoding/json"
	"fmt"
	"os"
)

// ImageVar is set in the environment by an engine that has made the machine of a
// container image: what the image would run, as JSON of an [Image].
const ImageVar = "WSLAB_IMAGE"

// ImageDir is the directory in such a machine that is the node's own. The engine has
// put the wslab binary there.
const ImageDir = "/.wslab"

// Image is what a container image says about the program in it. Its environment is
// that of the node.
type Image struct {
	Entrypoint []string `json:"entrypoint,omitempty"`
	Cmd        []string `json:"cmd,omitempty"`
	// User as USER in a Dockerfile: a name or a number, and perhaps a group after a colon.
	User       string `json:"user,omitempty"`
	WorkingDir string `json:"working_dir,omitempty"`
}

// Environ returns the NAME=value that carries it to the node.
func (i *Image) Environ() (string, error) {
	raw, err := json.Marshal(i)
	if err != nil {
		return "", fmt.Errorf("image: %w", err)
	}
	return ImageVar + "=" + string(raw), nil
}

// ImageFromEnviron returns the image that this machine was made of, nil if it was
// made of none.
func ImageFromEnviron() (*Image, error) {
	raw := os.Getenv(ImageVar)
	if raw == "" {
		return nil, nil
	}
	i := new(Image)
	if err := json.Unmarshal([]byte(raw), i); err != nil {
		return nil, fmt.Errorf("%s: %w", ImageVar, err)
	}
	return i, nil
}
