// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"path"
	"strings"

	"github.com/betawerk/pkb-go/internal/integration/npm"
)

// source is a package of other people that has STU3 resources in JSON.
type source struct {
	name, version string
	licence       string // as the package states it
	integrity     string
	folder        string // the one of its folders that has STU3
	whose         string
	// except are files of another version of FHIR, and what shows it.
	except map[string]string
}

func (s source) spec() string { return s.name + "@" + s.version }

// sources are fetched and read, and no part of them is kept in this repository.
var sources = []source{
	{
		name: "hl7.fhir.r3.examples", version: "3.0.2", licence: "CC0-1.0", folder: "package/",
		integrity: "sha512-HhSNNmBZKvqzfEpSdPaAmbZB4mphC7rDZNOS7OjwQaupS0PoV/SZNdoppLKFr4Q0TKxVV0UY8Hl0e0o7qSXWRw==",
		whose:     "HL7's own examples of STU3",
	},
	{
		name: "cql-exec-fhir", version: "2.2.0", licence: "Apache-2.0", folder: "package/test/fixtures/stu3/",
		integrity: "sha512-6aQwSnwiFBGMWyKPFvj0/A6yl2vCT7/ShlxCBikN/7pdPN7taQmmTMIMFWse05E2hd/8jW4eu+haQ4qPK19w8A==",
		whose:     "MITRE's CQL engine; whole records made up by Synthea",
	},
	{
		name: "fhir", version: "4.3.11", licence: "ISC", folder: "package/test/data/stu3/",
		integrity: "sha512-GuaQEvHPdXQo+kPiTqJjAWOI0LfbMvM+4TKTdOD9985tu6TGjpuSegdur9iyNmnDxTpLyqgYahuBdmHTGbERaQ==",
		whose:     "Lantana's FHIR.js",
		except: map[string]string{
			"document-example-dischargesummary.json": "DSTU2: Encounter.patient",
			"doc-manifest.json":                      "DSTU2: Practitioner.practitionerRole",
			"doc-manifest_bad.json":                  "DSTU2: Practitioner.practitionerRole",
		},
	},
	{
		name: "fhirpath", version: "0.10.3", licence: "MIT", folder: "package/test/resources/",
		integrity: "sha512-QxASSupObeYe8IAfX/qbSJoU57iitln8sN3W716G4gk6NJcLcbDLuiINibPqQ1MyugUEpUH/trl8Kb9i/l3Mhw==",
		whose:     "FHIRPath of the US National Library of Medicine and Health Samurai",
	},
}

// file is a file of a source.
type file struct {
	name string
	data []byte
}

// files fetches a source and returns its JSON files.
func (s source) files(ctx context.Context) (all []file, err error) {
	tarball, err := npm.Pack(ctx, s.spec(), s.integrity)
	if err != nil {
		return nil, err
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(tarball))
	if err != nil {
		return nil, err
	}
	for archive := tar.NewReader(unzipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		name := path.Clean(header.Name)
		if inside, ok := strings.CutPrefix(name, s.folder); ok && path.Ext(name) == ".json" && path.Base(name) != "package.json" && s.except[inside] == "" {
			data, err := io.ReadAll(archive)
			if err != nil {
				return nil, err
			}
			all = append(all, file{inside, data})
		}
	}
}
