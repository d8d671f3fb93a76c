/** Policy files: what is read, what is said of mistakes, and how a guard follows its file. */
import { execFileSync } from 'node:child_process';
import { renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { describe, expect, it } from 'vitest';
import {
  AgentGuardError,
  createSpendGuard,
  memoryLedger,
  type Ledger,
  type SpendEvent,
  type SpendGuard,
  type SpendPolicy,
} from '../../../src/index.ts';
import { fileLedger } from '../../../src/node/file-ledger/index.ts';
import { loadPolicies, policyFile } from '../../../src/node/policy-file/index.ts';
import { policiesIn, problemsMessage } from '../../../src/node/policy-file/read.ts';
import { otherProcess } from '../other-process.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const POLICY: SpendPolicy = {
  id: 'acme',
  scope: { tenantId: 'acme' },
  caps: [{ amountCents: 100, window: 'total', action: 'block' }],
  version: 1,
  effectiveFrom: '2026-01-01',
};

function written(name: string, text: string): string {
  const path = join(temporaryFolder(), name);
  writeFileSync(path, text);
  return path;
}

/** What is said of a text. */
function said(text: string): string[] {
  return (problemsMessage(policiesIn(text, 'p.yaml')) ?? '').split('\n');
}

describe('loadPolicies', () => {
  const yaml = stringify(POLICY);
  const json = JSON.stringify(POLICY, undefined, '\t');

  it.each([
    ['YAML', yaml, [POLICY]],
    [
      'YAML with a byte order mark and Windows line ends',
      `\ufeff# mine\r\n${yaml.replaceAll('\n', '\r\n')}`,
      [POLICY],
    ],
    ['JSON with tabs', json, [POLICY]],
    ['JSON that names its schema', JSON.stringify({ $schema: './policy.schema.json', ...POLICY }), [POLICY]],
    ['a list', stringify([POLICY, { ...POLICY, id: 'b' }]), [POLICY, { ...POLICY, id: 'b' }]],
    ['a list under policies', stringify({ policies: [POLICY] }), [POLICY]],
  ])('reads %s', (_name, text, policies) => {
    expect(loadPolicies(written('policies.yaml', text))).toEqual(policies);
  });

  it('takes a date, a fraction and a long amount as they are written', () => {
    const path = written(
      'p.yaml',
      'id: a\nscope: {}\nversion: 1\neffectiveFrom: 2026-06-01\n' +
        'caps:\n  - { amountCents: 0.1, window: total, action: block }\n' +
        '  - { amountCents: 12345678901.1234567, window: total, action: block }\n',
    );
    const [policy] = loadPolicies(path);
    expect(policy?.effectiveFrom).toBe('2026-06-01');
    expect(policy?.caps.map(({ amountCents }) => amountCents)).toEqual([0.1, '12345678901.1234567']);
  });

  it('reads what several policies share from one anchor', () => {
    const text = `- &first\n  ${yaml.trim().replaceAll('\n', '\n  ')}\n- *first\n`;
    expect(loadPolicies(written('p.yaml', text))).toEqual([POLICY, POLICY]);
  });

  it.each([
    ['a missing file', join(temporaryFolder(), 'none.yaml'), 'agentguard init'],
    ['a folder', temporaryFolder(), 'folder'],
  ])('says what to do about %s', (_name, path, words) => {
    expect(() => loadPolicies(path)).toThrow(words);
  });

  it('refuses what is not UTF-8', () => {
    const path = join(temporaryFolder(), 'p.yaml');
    writeFileSync(path, Buffer.from('id: ä', 'utf16le'));
    expect(() => loadPolicies(path)).toThrow('not UTF-8');
  });

  it('throws invalid_policy with every mistake', () => {
    const path = written(
      'p.yaml',
      'id: a\nscope: { team: x }\ncaps: []\nversion: one\neffectiveFrom: 2026-01-01\n',
    );
    let thrown: unknown;
    try {
      loadPolicies(path);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(AgentGuardError);
    expect(thrown).toMatchObject({ code: 'invalid_policy' });
    expect((thrown as Error).message.split('\n').map((line) => line.replace(path, ''))).toEqual([
      ':2:10: scope.team: unknown field; did you mean teamId?',
      ':4:10: version: expected a whole number of at least 0, got "one"',
    ]);
  });
});

describe('mistakes', () => {
  const head = 'id: a\nscope: {}\nversion: 1\neffectiveFrom: 2026-01-01\n';

  it.each<[string, string, string]>([
    ['an unknown field, at its name', `${head}caps: []\nlimits: 5\n`, 'p.yaml:6:1: limits: unknown field'],
    [
      'a missing field, at what lacks it',
      `${head}caps:\n  - window: total\n    action: block\n`,
      'p.yaml:6:5: caps[0].amountCents: missing',
    ],
    [
      'a wrong value, at the value',
      `${head}caps:\n  - amountCents: 5\n    window: daily\n    action: block\n`,
      'p.yaml:7:13: caps[0].window: expected one of',
    ],
    [
      'a wrong value inside a rule',
      `${head}caps: []\nrules:\n  - when: { task: [a, 5] }\n    models: x\n`,
      'p.yaml:7:23: rules[0].when.task[1]: expected text',
    ],
    [
      'a field without a value',
      `${head}caps:\n`,
      'p.yaml:5:1: caps: expected a list of caps ([] for none), got nothing',
    ],
    ['a field twice', `${head}caps: []\nid: b\n`, 'p.yaml:6:1: this field is there twice'],
    ['a tab', 'id: a\n\tscope: {}\n', 'p.yaml:2:1: indent with spaces'],
    ['fields that don’t line up', 'id: a\n scope: {}\n', 'p.yaml:1:5: the fields don’t line up'],
    ['a quote that is open', 'id: "a\nscope: {}\n', 'p.yaml:3:1: a quote, bracket or ":" is missing'],
    [
      'a pattern without quotes',
      `${head}caps: []\nrules:\n  - models: *-mini\n`,
      'p.yaml:7:13: a text that begins with * needs quotes around it: "*-mini"',
    ],
    ['two documents', 'id: a\n---\nid: b\n', 'p.yaml:2:1: a second document begins'],
    ['a tag', 'id: !!js/function a\n', 'p.yaml:1:5: remove the tag'],
    ['an empty file', '# nothing yet\n', 'p.yaml:1:1: the file has no policy; "agentguard init"'],
    ['a text', 'hello\n', 'p.yaml:1:1: expected a policy, a list of policies'],
    [
      'a field beside policies',
      'policies: []\nversion: 1\n',
      'p.yaml:2:1: version: unknown field beside "policies"',
    ],
    ['policies that are no list', 'policies: 1\n', 'p.yaml:1:1: policies: expected a list'],
    ['broken JSON', '{ "id": "a", "scope": { }', 'p.yaml:1:26: a quote, bracket'],
    ['JSON that ends in a list', '{ "id": "a", "caps": [', 'p.yaml:1:23: the file ends too early'],
    [
      'a slip in a time zone',
      `${head}caps: []\ntimeZone: Europe/Berln\n`,
      'p.yaml:6:11: timeZone: expected an IANA time zone such as "Europe/Berlin", or an offset such as "+02:00", got "Europe/Berln"; did you mean Europe/Berlin?',
    ],
    [
      'a city as a time zone',
      `${head}caps: []\ntimeZone: new york\n`,
      'p.yaml:6:11: timeZone: expected an IANA time zone such as "Europe/Berlin", or an offset such as "+02:00", got "new york"; did you mean America/New_York?',
    ],
  ])('%s', (_name, text, expected) => {
    const [first] = said(text);
    expect(first?.slice(0, expected.length)).toBe(expected);
  });

  it('takes no text that is nested without end', () => {
    expect(said('['.repeat(20_000)).join()).toContain('nested far deeper than any policy');
  });

  it('says of foreign notations what to do', () => {
    expect(said('{ // mine\n "id": "a" }').join()).toContain('unknown field; a comment begins with #');
    expect(said(`${head}caps: []\n<<: { mode: shadow }\n`).join()).toContain('merge keys are not read');
    expect(said(`${head}caps: []\ntimeZone: UTC+2\n`).join()).not.toContain('did you mean');
  });

  it('names the policy where a file has several', () => {
    const text = JSON.stringify(
      [POLICY, { ...POLICY, id: 'b', mode: 'off' }, { ...POLICY, id: '' }],
      undefined,
      2,
    );
    expect(said(text)).toEqual([
      expect.stringMatching(/^p\.yaml:31:13: policy "b", mode: expected "enforce" or "shadow"/),
      expect.stringMatching(/^p\.yaml:34:11: policy "number 3", id: expected text/),
    ]);
  });

  it('doesn’t let references be multiplied', () => {
    const nested = [
      'a: &a [x,x,x,x,x,x,x,x,x]',
      'b: &b [*a,*a,*a,*a,*a,*a]',
      'c: &c [*b,*b,*b,*b,*b,*b]',
      'd: [*c,*c,*c,*c]',
    ];
    expect(said(nested.join('\n'))[0]).toContain('alias count');
  });
});

interface Followed {
  path: string;
  guard: SpendGuard;
  ledger: Ledger;
  events: SpendEvent[];
  /** As most editors and deployments do it: a whole file takes the place of the old one. */
  replace(text: string): void;
  /** Can a call for 50 cents be made? */
  canSpend(): Promise<boolean>;
  warnings(): string[];
  versions(): Promise<number[]>;
}

function follow(
  policy: SpendPolicy | SpendPolicy[] = POLICY,
  ledger = memoryLedger(),
  path?: string,
): Followed {
  const file = path ?? written('policies.yaml', stringify(policy));
  const events: SpendEvent[] = [];
  const source = policyFile(file, { checkEveryMs: 0 });
  const guard = createSpendGuard({
    policy: source,
    ledger,
    waitForHoldsMs: 0,
    onEvent: (event) => events.push(event),
  });
  return {
    path: file,
    guard,
    ledger,
    events,
    replace(text) {
      writeFileSync(`${file}.new`, text);
      renameSync(`${file}.new`, file);
    },
    canSpend: () =>
      guard.charge({ label: 'search', usd: '0.50' }).then(
        () => true,
        () => false,
      ),
    warnings: () => events.flatMap((event) => (event.type === 'warning' ? [event.message] : [])),
    async versions() {
      const found: number[] = [];
      for await (const { payload } of ledger.read())
        if (payload.type === 'policy') found.push((payload.policy as { version: number }).version);
      return found;
    },
  };
}

const raised = (amountCents: number, version: number): SpendPolicy => ({
  ...POLICY,
  caps: [{ amountCents, window: 'total', action: 'block' }],
  version,
});

describe('a guard that follows its file', () => {
  it('decides the next call by the edited file, keeps what was spent, and records each version once', async () => {
    const followed = follow();
    expect([await followed.canSpend(), await followed.canSpend(), await followed.canSpend()]).toEqual([
      true,
      true,
      false,
    ]);
    followed.replace(stringify(raised(150, 2)));
    expect([await followed.canSpend(), await followed.canSpend()]).toEqual([true, false]);
    expect(await followed.versions()).toEqual([1, 2]);
    expect(followed.events.filter(({ type }) => type === 'policy')).toEqual([
      {
        type: 'policy',
        source: followed.path,
        policies: [expect.objectContaining({ id: 'acme', version: 2 })],
      },
    ]);
  });

  it('keeps the policies of before when an edit is wrong, and says once where', async () => {
    const followed = follow();
    followed.replace(stringify(POLICY).replace('window: total', 'window: for ever'));
    expect([await followed.canSpend(), await followed.canSpend(), await followed.canSpend()]).toEqual([
      true,
      true,
      false,
    ]);
    expect(followed.warnings()).toEqual([
      expect.stringMatching(
        /policies\.yaml:6:13: caps\[0\]\.window: expected .* got "for ever"\nThe policies of before stay/s,
      ),
    ]);
    followed.replace(stringify(raised(150, 2)));
    expect(await followed.canSpend()).toBe(true);
    expect(await followed.versions()).toEqual([1, 2]);
  });

  it('keeps them when the file is gone, and takes it when it is back', async () => {
    const followed = follow();
    rmSync(followed.path);
    expect([await followed.canSpend(), await followed.canSpend(), await followed.canSpend()]).toEqual([
      true,
      true,
      false,
    ]);
    expect(followed.warnings()).toEqual([expect.stringContaining("can't be read: there is none")]);
    followed.replace(stringify(raised(150, 2)));
    expect(await followed.canSpend()).toBe(true);
  });

  it.skipIf(process.platform === 'win32')('reads no pipe or device that takes its place', async () => {
    const followed = follow();
    // Whoever reads this one never comes to an end, and of a pipe that nobody writes to never to a beginning.
    rmSync(followed.path);
    symlinkSync('/dev/zero', followed.path);
    expect([await followed.canSpend(), await followed.canSpend()]).toEqual([true, true]);
    rmSync(followed.path);
    execFileSync('sh', ['-c', 'mkfifo "$0"', followed.path]);
    expect([await followed.canSpend(), await followed.canSpend()]).toEqual([false, false]);
    expect(followed.warnings()).toContainEqual(expect.stringContaining('it is a pipe or a device'));
    expect(() => policyFile(followed.path).open()).toThrow('it is a pipe or a device');
    expect(() => loadPolicies('/dev/zero')).toThrow('larger than 1 MiB');
  });

  it('waits until a file that is written in place has come to rest', async () => {
    const followed = follow([POLICY, { ...raised(100, 1), id: 'second' }]);
    // Cut off after the first policy, it is a valid file with fewer caps.
    writeFileSync(followed.path, stringify([raised(10_000, 2)]));
    expect(await followed.canSpend()).toBe(true);
    expect(await followed.versions()).toEqual([1, 1]);
    // The writer goes on before the second look, and is done.
    writeFileSync(followed.path, stringify([raised(10_000, 2), { ...raised(10_000, 3), id: 'second' }]));
    utimesSync(followed.path, 1, 1);
    expect([await followed.canSpend(), await followed.canSpend()]).toEqual([true, true]);
    expect(await followed.versions()).toEqual([1, 1, 2, 3]);
  });

  it('follows a link that is set to another file', async () => {
    const folder = temporaryFolder();
    const [first, second, link] = ['a.yaml', 'b.yaml', 'current.yaml'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    writeFileSync(first, stringify(POLICY));
    writeFileSync(second, stringify(raised(0, 2)));
    symlinkSync(first, link);
    const followed = follow(POLICY, memoryLedger(), link);
    expect(await followed.canSpend()).toBe(true);
    rmSync(link);
    symlinkSync(second, link);
    expect(await followed.canSpend()).toBe(false);
  });

  it('says nothing of an edit that changes only comments', async () => {
    const followed = follow();
    followed.replace(`# reviewed by finance\n${stringify(POLICY)}`);
    await followed.canSpend();
    expect(followed.events.filter(({ type }) => type === 'policy' || type === 'warning')).toEqual([]);
    expect(await followed.versions()).toEqual([1]);
  });

  it('takes a policy that is added, and one that is taken away', async () => {
    const followed = follow();
    followed.replace(stringify([POLICY, { ...raised(50, 1), id: 'tight' }]));
    expect([await followed.canSpend(), await followed.canSpend()]).toEqual([true, false]);
    followed.replace(stringify(POLICY));
    expect(await followed.canSpend()).toBe(true);
  });

  it('inherits the scope that all policies of the file agree on', async () => {
    const team = { ...POLICY, id: 'team', scope: { tenantId: 'acme', teamId: 'research' } };
    const followed = follow([POLICY, team]);
    expect((await followed.guard.balances()).map(({ policyId }) => policyId)).toEqual(['acme']);
    expect(await followed.canSpend()).toBe(true);
    followed.replace(stringify(team));
    expect((await followed.guard.balances()).map(({ policyId }) => policyId)).toEqual(['team']);
  });

  it('stays with its tenant’s log', async () => {
    const path = written('p.yaml', stringify(POLICY));
    const events: SpendEvent[] = [];
    const before = process.env['AGENTGUARD_HOME'];
    process.env['AGENTGUARD_HOME'] = temporaryFolder();
    const policy = policyFile(path, { checkEveryMs: 0 });
    const guard = createSpendGuard({ policy, onEvent: (event) => events.push(event) });
    if (before === undefined) delete process.env['AGENTGUARD_HOME'];
    else process.env['AGENTGUARD_HOME'] = before;
    writeFileSync(`${path}.new`, stringify({ ...raised(0, 2), scope: { tenantId: 'globex' } }));
    renameSync(`${path}.new`, path);
    await guard.charge({ label: 'search', usd: 0.5 });
    await guard.close();
    expect(events.flatMap((event) => (event.type === 'warning' ? [event.message] : []))).toEqual([
      expect.stringContaining('the tenant was acme'),
    ]);
  });

  it('is refused at once when there is nothing sound to begin with', () => {
    const path = written('p.yaml', 'id: a\n');
    expect(() => createSpendGuard({ policy: policyFile(path), ledger: memoryLedger() })).toThrow(
      `${path}:1:1: scope: missing`,
    );
    expect(() => policyFile('')).toThrow('expected the path of a file');
    expect(() => policyFile(path, { checkEveryMs: -1 })).toThrow('checkEveryMs');
  });

  it('doesn’t look at the file at every call', async () => {
    const path = written('p.yaml', stringify(POLICY));
    const guard = createSpendGuard({
      policy: policyFile(path, { checkEveryMs: 1e9 }),
      ledger: memoryLedger(),
    });
    writeFileSync(`${path}.new`, stringify(raised(0, 2)));
    renameSync(`${path}.new`, path);
    await expect(guard.charge({ label: 'search', usd: '0.5' })).resolves.toBeDefined();
  });

  it('shares the balance with another guard that has not seen the edit yet', async () => {
    const first = follow();
    const slow = createSpendGuard({
      policy: policyFile(first.path, { checkEveryMs: 1e9 }),
      ledger: first.ledger,
      waitForHoldsMs: 0,
    });
    first.replace(stringify(raised(200, 2)));
    expect([await first.canSpend(), await first.canSpend(), await first.canSpend()]).toEqual([
      true,
      true,
      true,
    ]);
    await expect(slow.charge({ label: 'search', usd: '0.5' })).rejects.toThrow('cap_spent');
  });

  it('binds other processes at their next decision, each by its own look at the file', async () => {
    const path = written('p.yaml', stringify(POLICY));
    const dir = temporaryFolder();
    const others = await Promise.all([1, 2].map(() => otherProcess({ dir, policy: path })));
    const spend = async (): Promise<(string | undefined)[]> => {
      const answers = [];
      for (const other of others)
        answers.push((await other({ charge: { label: 'search', usd: '0.40' } })).blocked);
      return answers;
    };
    expect(await spend()).toEqual([undefined, undefined]);
    expect(await spend()).toEqual(['cap_spent', 'cap_spent']);
    writeFileSync(`${path}.new`, stringify(raised(170, 2)));
    renameSync(`${path}.new`, path);
    expect(await spend()).toEqual([undefined, undefined]);
    expect(await spend()).toEqual(['cap_spent', 'cap_spent']);
    for (const other of others) await other({ close: true });
    const versions: unknown[] = [];
    for await (const { payload } of fileLedger({ dir }).read())
      if (payload.type === 'policy') versions.push((payload.policy as { version: number }).version);
    expect(versions).toEqual([1, 2]);
  });
});
