package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// FamilyBy says how the family of a node follows from its boot script.
type FamilyBy string

// The values of FamilyBy.
const (
	FamilyByRelease  FamilyBy = "release"   // the release name without its version
	FamilyByScriptID FamilyBy = "script_id" // name and version, as WombatOAM does
)

// Names is a generation of metric names.
type Names string

// The values of Names.
const (
	NamesBoth   Names = "both"
	NamesLegacy Names = "legacy"
	NamesV6     Names = "v6"
)

// Allocators says whether the instances of an allocator are shown one by one.
type Allocators string

// The values of Allocators.
const (
	AllocatorsSummed      Allocators = "summed"
	AllocatorsPerInstance Allocators = "per_instance"
)

// MSAcc says whether microstate accounting is read.
type MSAcc string

// The values of MSAcc.
const (
	MSAccAuto MSAcc = "auto" // when the node has it switched on
	MSAccOn   MSAcc = "on"   // switched on by the agent while it is there
	MSAccOff  MSAcc = "off"
)

// Injection says whether the agent is brought into nodes that lack it.
type Injection string

// The values of Injection.
const (
	InjectionAuto  Injection = "auto"
	InjectionNever Injection = "never"
)

// Role is what somebody may do; each role includes those before it.
type Role string

// The values of Role. RoleNone is for requests without credentials only.
const (
	RoleNone    Role = "none"
	RoleRead    Role = "read"
	RoleOperate Role = "operate"
	RoleCommand Role = "command"
	RoleAdmin   Role = "admin"
)

// UnmarshalYAML refuses unknown values.
func (v *FamilyBy) UnmarshalYAML(unmarshal func(any) error) error {
	return oneOf(unmarshal, (*string)(v), string(FamilyByRelease), string(FamilyByScriptID))
}

// UnmarshalYAML refuses unknown values.
func (v *Names) UnmarshalYAML(unmarshal func(any) error) error {
	return oneOf(unmarshal, (*string)(v), string(NamesBoth), string(NamesLegacy), string(NamesV6))
}

// UnmarshalYAML refuses unknown values.
func (v *Allocators) UnmarshalYAML(unmarshal func(any) error) error {
	return oneOf(unmarshal, (*string)(v), string(AllocatorsSummed), string(AllocatorsPerInstance))
}

// UnmarshalYAML refuses unknown values.
func (v *MSAcc) UnmarshalYAML(unmarshal func(any) error) error {
	return oneOf(unmarshal, (*string)(v), string(MSAccAuto), string(MSAccOn), string(MSAccOff))
}

// UnmarshalYAML refuses unknown values.
func (v *Injection) UnmarshalYAML(unmarshal func(any) error) error {
	return oneOf(unmarshal, (*string)(v), string(InjectionAuto), string(InjectionNever))
}

// UnmarshalYAML refuses unknown values.
func (v *Role) UnmarshalYAML(unmarshal func(any) error) error {
	return oneOf(unmarshal, (*string)(v), string(RoleNone), string(RoleRead), string(RoleOperate), string(RoleCommand), string(RoleAdmin))
}

func oneOf(unmarshal func(any) error, into *string, allowed ...string) error {
	if err := unmarshal(into); err != nil {
		return err
	}
	if !slices.Contains(allowed, *into) {
		return fmt.Errorf("%q is not one of %s", *into, strings.Join(allowed, ", "))
	}
	return nil
}

// Size is a number of bytes, written as a number with or without KiB, MiB or
// GiB.
type Size int64

var sizeUnits = []struct {
	suffix string
	factor Size
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}, {"", 1}}

// UnmarshalYAML reads a size.
func (s *Size) UnmarshalYAML(unmarshal func(any) error) error {
	var text string
	if err := unmarshal(&text); err != nil {
		return err
	}
	for _, u := range sizeUnits {
		if digits, ok := strings.CutSuffix(text, u.suffix); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 63)
			if err == nil && n <= uint64(math.MaxInt64/u.factor) {
				*s = Size(n) * u.factor
				return nil
			}
			break
		}
	}
	return fmt.Errorf("%q is not a size such as 16MiB", text)
}

// MarshalYAML writes the size with the largest unit that divides it.
func (s Size) MarshalYAML() (any, error) {
	for _, u := range sizeUnits {
		if s != 0 && s%u.factor == 0 {
			return strconv.FormatInt(int64(s/u.factor), 10) + u.suffix, nil
		}
	}
	return int64(s), nil
}
