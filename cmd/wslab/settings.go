package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"github.com/wslab/wslab/internal/report"
)

// setting is one of the settings that come from a flag, the environment or a
// settings file. This list is all there are; --help and the documentation are made from it.
type setting struct {
	key, usage, value string
	// allowed values; empty means any.
	allowed []string
}

func settingsList() []setting {
	return []setting{
		{key: "engine", value: engineAuto, usage: "what labs run on: " + strings.Join(engineNames(), ", ") + "; auto takes the first that can", allowed: engineNames()},
		{key: "speed", value: "1", usage: "divide every duration of lab, scenario and strategy by this"},
		{key: "format", value: "table", usage: "what is printed on standard output: " + strings.Join(formatNames(), " or "), allowed: formatNames()},
		{key: "docker-host", value: "", usage: "where the Docker engine answers, such as unix:///var/run/docker.sock (default: DOCKER_HOST)"},
		{key: "lang", value: "", usage: "language of explanations: en or ja (default: the locale)", allowed: []string{"", "en", "ja"}},
	}
}

// settings are the settings as they came out.
type settings struct {
	engine     string
	speed      float64
	speedSet   bool
	format     string
	dockerHost string
	lang       string
}

func addSettingFlags(flags *pflag.FlagSet) {
	for _, s := range settingsList() {
		flags.String(s.key, s.value, s.usage)
	}
}

// readSettings merges flags over WSLAB_* over wslab.yaml in the working directory or
// the user's configuration folder over the defaults.
func readSettings(flags *pflag.FlagSet) (*settings, error) {
	v := viper.New()
	v.SetEnvPrefix("wslab")
	v.SetEnvKeyReplacer(strings.NewReplacer("-", "_"))
	v.AutomaticEnv()
	for _, s := range settingsList() {
		v.SetDefault(s.key, s.value)
		if err := v.BindPFlag(s.key, flags.Lookup(s.key)); err != nil {
			return nil, fmt.Errorf("setting %s: %w", s.key, err)
		}
	}
	if file := settingsFile(); file != "" {
		v.SetConfigFile(file)
		if err := v.ReadInConfig(); err != nil {
			return nil, usagef("settings file %s: %w", file, err)
		}
	}
	if err := checkKeys(v); err != nil {
		return nil, err
	}
	out := &settings{
		engine:     v.GetString("engine"),
		format:     v.GetString("format"),
		dockerHost: v.GetString("docker-host"),
		lang:       v.GetString("lang"),
		speed:      v.GetFloat64("speed"),
		speedSet:   v.GetString("speed") != "1" || flags.Changed("speed"),
	}
	for _, s := range settingsList() {
		if len(s.allowed) > 0 && !slices.Contains(s.allowed, v.GetString(s.key)) {
			return nil, usagef("%s is %q; it can be: %s", s.key, v.GetString(s.key), strings.Join(nonEmpty(s.allowed), ", "))
		}
	}
	if out.speed <= 0 || math.IsInf(out.speed, 0) || math.IsNaN(out.speed) {
		return nil, usagef("speed is %q; it has to be a number over 0, such as 5", v.GetString("speed"))
	}
	return out, nil
}

// settingsFile returns the settings file that is there: in the working directory,
// else in the user's configuration folder.
func settingsFile() string {
	const name = "wslab.yaml"
	places := []string{name}
	if dir, err := os.UserConfigDir(); err == nil {
		places = append(places, filepath.Join(dir, "wslab", name))
	}
	for _, p := range places {
		if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() {
			return p
		}
	}
	return ""
}

// checkKeys refuses keys of a settings file that are not settings: a mistyped one would do nothing.
func checkKeys(v *viper.Viper) error {
	var known []string
	for _, s := range settingsList() {
		known = append(known, s.key)
	}
	for _, key := range v.AllKeys() {
		if !slices.Contains(known, key) {
			return usagef("settings file %s: unknown key %q; there is: %s", v.ConfigFileUsed(), key, strings.Join(known, ", "))
		}
	}
	return nil
}

// formatNames are those of the report formats that are printed; other output knows them as well.
func formatNames() []string {
	var names []string
	for _, f := range report.Formats() {
		if f.Printed {
			names = append(names, f.Name)
		}
	}
	return names
}

func nonEmpty(values []string) []string {
	return slices.DeleteFunc(slices.Clone(values), func(s string) bool { return s == "" })
}
