module example.com/consumer

go 1.26.0

replace github.com/betawerk/pkb-go => ../../..

require github.com/betawerk/pkb-go v0.0.0-00010101000000-000000000000

require (
	github.com/samply/golang-fhir-models/fhir-models v0.3.2 // indirect
	golang.org/x/oauth2 v0.38.0 // indirect
	golang.org/x/text v0.44.0 // indirect
)
