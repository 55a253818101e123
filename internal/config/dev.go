package config

// devDraft is a Dev while it is filled.
type devDraft struct {
	Dev
}

func (d *devDraft) take(s *stack) { d.Warnings = s.warnings }

func devFields() []field[devDraft] {
	return []field[devDraft]{
		{Setting{
			Key: "kube.listen", Kind: Text, Default: "127.0.0.1:4200", Flags: []Flag{{Name: "listen"}},
			Help: "Host and port to listen at.",
		}, func(d *devDraft) any { return &d.Listen }},
		{Setting{
			Key: "kube.allow_host", Kind: List, Flags: []Flag{{Name: "allow-host", Repeated: true}},
			Help: "Names and addresses that requests may be made to, separated by commas, besides localhost, 127.0.0.1, ::1 and the host of --listen.",
		}, func(d *devDraft) any { return &d.AllowHosts }},
		{Setting{
			Key: "kube.db", Kind: Text, Flags: []Flag{{Name: "db"}},
			Help: "File of the database; the default is a temporary one that nobody else can read.",
		}, func(d *devDraft) any { return &d.DB }},
		{Setting{
			Key: "kube.generation", Kind: Text, Values: []string{"0.11", "1.x"}, Default: "1.x", Flags: []Flag{{Name: "generation"}},
			Help: "Prefect Server to imitate: 0.11 or 1.x.",
		}, func(d *devDraft) any { return &d.Generation }},
		{Setting{
			Key: "kube.log_level", Kind: Text, Default: "INFO", Flags: []Flag{{Name: "log-level", Choices: flagLevels()}},
			Help: "Log level: DEBUG, INFO, WARNING or ERROR.",
		}, func(d *devDraft) any { return &d.LogLevel }},
	}
}
