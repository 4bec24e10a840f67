// Command cdicheck does with a folder of CDI files what containerd does: it loads them into the library's cache, says
// what of them is refused, and injects devices into an OCI spec. One JSON object on stdout says what came of it.
//
//	cdicheck FOLDER [DEVICE...]
package main

import (
	"encoding/json"
	"fmt"
	"os"

	oci "github.com/opencontainers/runtime-spec/specs-go"
	"tags.cncf.io/container-device-interface/pkg/cdi"
)

// file is one CDI file that the library took in: the version it claims, and the lowest that would do.
type file struct {
	Path    string `json:"path"`
	Version string `json:"version"`
	Minimum string `json:"minimum"`
}

type report struct {
	// Errors are those of loading, by path.
	Errors map[string][]string `json:"errors"`
	// Devices are the qualified names that can be asked for.
	Devices []string `json:"devices"`
	Files   []file   `json:"files"`
	// Refused says why the devices were not injected, and Unresolved which of them nobody knows.
	Refused    string    `json:"refused"`
	Unresolved []string  `json:"unresolved"`
	Spec       *oci.Spec `json:"spec"`
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: cdicheck FOLDER [DEVICE...]")
		os.Exit(2)
	}
	cache, err := cdi.NewCache(cdi.WithSpecDirs(os.Args[1]), cdi.WithAutoRefresh(false))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(checked(cache, os.Args[2:])); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func checked(cache *cdi.Cache, wanted []string) report {
	// Lists that are empty are to be empty lists.
	found := report{
		Errors:     map[string][]string{},
		Devices:    append([]string{}, cache.ListDevices()...),
		Files:      []file{},
		Unresolved: []string{},
		Spec:       container(),
	}
	for path, errs := range cache.GetErrors() {
		for _, err := range errs {
			found.Errors[path] = append(found.Errors[path], err.Error())
		}
	}
	for _, vendor := range cache.ListVendors() {
		for _, spec := range cache.GetVendorSpecs(vendor) {
			minimum, err := cdi.MinimumRequiredVersion(spec.Spec)
			if err != nil {
				minimum = err.Error()
			}
			found.Files = append(found.Files, file{spec.GetPath(), spec.Version, minimum})
		}
	}
	unresolved, err := cache.InjectDevices(found.Spec, wanted...)
	found.Unresolved = append(found.Unresolved, unresolved...)
	if err != nil {
		found.Refused = err.Error()
	}
	return found
}

// container is as bare as a container's spec can be.
func container() *oci.Spec {
	return &oci.Spec{
		Version: oci.Version,
		Process: &oci.Process{},
		Linux:   &oci.Linux{Resources: &oci.LinuxResources{}},
	}
}
