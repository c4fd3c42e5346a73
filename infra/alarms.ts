/** Every alarm: what it says, and for how many periods it must hold. Each has a section in RUNBOOK.md. */
export const ALARMS = {
  deadLetters: { what: 'Messages gave up and wait for a person', periods: 1 },
  queueAge: { what: 'The oldest message waits too long', periods: 3 },
  errors: { what: 'A function fails', periods: 2 },
  throttles: { what: 'A function is throttled', periods: 3 },
  incompleteScans: { what: 'Many uploads could not be searched to their end', periods: 2 },
  costPerHour: { what: 'An hour of audio costs more than it should', periods: 3 },
  indexLag: { what: 'New references wait too long before they are searched', periods: 3 },
  unmerged: { what: 'The catalogue lies in small graphs, which make queries slow', periods: 2 },
  catalogueLatency: { what: 'The catalogue answers slowly', periods: 3 },
  catalogueMemory: { what: 'The catalogue runs out of memory', periods: 3 },
  catalogueStatus: { what: 'A part of the catalogue is not searchable', periods: 1 },
} as const satisfies Record<string, { what: string; periods: number }>;

export type AlarmName = keyof typeof ALARMS;

/** The section's anchor, as Markdown renderers make it of `## name`. */
export const runbookLink = (name: AlarmName): string => `RUNBOOK.md#${name.toLowerCase()}`;
