package config

// OutputText is the form of a report for people.
const OutputText = "text"

// Doctor is the configuration of doctor: the agent that is looked at, and how.
type Doctor struct {
	Agent
	// Origin is where the agent's configuration was found.
	Origin Origin
	// Output is OutputText or OutputJSON.
	Output string
}

// Origin is where a configuration was found.
type Origin struct {
	// Files are those that were read, later ones winning.
	Files []string
	// Credential is the place of the credential, empty if there is none.
	Credential string
}

func doctorFields() []field[Doctor] {
	return []field[Doctor]{
		{Setting{
			Flags: []Flag{{Name: "output", Short: "o"}}, Values: []string{OutputText, OutputJSON}, Kind: Text, Default: OutputText,
			Help: "Form of the report: text or json.",
		}, func(d *Doctor) any { return &d.Output }},
	}
}

// DoctorSettings lists the settings of doctor: its own, and those of the agent in
// both forms of its command, each flag once.
func DoctorSettings() []Setting { return bothForms(settingsOf(doctorFields())) }

// ResolveDoctor resolves and validates the settings of doctor. The agent's are read
// as "agent kubernetes start" reads them, or as "agent start kubernetes" does where
// the flags or the only credential are of 0.11.0.
// Every error in the result is an *Error; several are joined, one a line.
func ResolveDoctor(src Sources) (Doctor, error) {
	own, err := resolve(doctorFields(), src)
	if own == nil {
		return Doctor{}, err
	}
	settings := settingsOf(doctorFields())
	d := *own
	var errAgent error
	d.Agent, d.Origin, errAgent = resolveEither(formOf(settings, src), src)
	return d, faults(err, errAgent, unknownFlags(append(settings, AgentSettings(d.CoreVersion)...), src, ofOneForm))
}
