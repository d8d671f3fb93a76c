/** Texts of many kinds, the same in every run, for the estimator's tests and its error table. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

const source = (path: string): string =>
  readFileSync(new URL(`../${path}`, import.meta.url), 'utf8').slice(0, 20_000);

/** The same noise each time. */
export function noise(bytes: number): Buffer {
  const blocks = Array.from({ length: Math.ceil(bytes / 32) }, (_, i) =>
    createHash('sha256').update(`${i}`).digest(),
  );
  return Buffer.concat(blocks).subarray(0, bytes);
}

const letters = (alphabet: string): string =>
  [...noise(4000)].map((b) => alphabet[b % alphabet.length]).join('');
const uuid = (_: unknown, i: number): string => {
  const hex = createHash('md5').update(`${i}`).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
};

/** Tools as a call carries them: names, descriptions, JSON Schema. */
const TOOL_SCHEMAS = JSON.stringify(
  ['search_invoices', 'create_refund', 'getCustomer', 'run_sql_query', 'send_email'].map((name, index) => ({
    type: 'function',
    function: {
      name,
      description: `Use this when the user asks for ${name.replaceAll('_', ' ')}; returns at most ${index + 10} rows.`,
      parameters: {
        type: 'object',
        properties: {
          customerId: {
            type: 'string',
            description: 'The id of the customer, such as cus_8Yx2.',
            pattern: '^cus_',
          },
          limit: { type: 'integer', minimum: 1, maximum: 100, default: 20 },
          status: { type: 'string', enum: ['open', 'paid', 'void', 'uncollectible'] },
          after: { type: ['string', 'null'], format: 'date-time' },
          tags: { type: 'array', items: { type: 'string' }, maxItems: 8 },
        },
        required: ['customerId'],
        additionalProperties: false,
      },
      strict: true,
    },
  })),
);

const HTML = `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Spend</title></head><body>${Array.from(
  { length: 12 },
  (_, row) =>
    `<tr class="row row-${row}" data-id="${row * 7}"><td><a href="/teams/${row}?window=per_day">Team ${row}</a></td>` +
    `<td style="text-align:right">$${row}.${row}0</td></tr>`,
).join('\n')}</body></html>`;

const SQL = Array.from(
  { length: 8 },
  (_, n) =>
    `SELECT c.id, c.name, SUM(l.amount_nano) AS spent\nFROM ledger_lines AS l\nJOIN caps c ON c.id = l.cap_id AND c.window = 'per_day'\n` +
    `WHERE l.tenant_id = $${n + 1} AND l.issued_at >= NOW() - INTERVAL '${n} days'\nGROUP BY c.id, c.name HAVING SUM(l.amount_nano) > 0;\n`,
).join('\n');

const PYTHON = Array.from(
  { length: 6 },
  (_, n) =>
    `def settle_${n}(call_id: str, usage: dict[str, int], *, strict: bool = False) -> Decimal:\n` +
    `    """Returns what the call cost, never less than nothing."""\n` +
    `    total = sum(Decimal(rate) * usage.get(kind, 0) for kind, rate in RATES.items())\n` +
    `    if strict and total > HOLDS[call_id]:\n        raise OverHold(f"{call_id}: {total:.9f} > {HOLDS[call_id]}")\n    return total\n`,
).join('\n');

/** Kind of text, the text, and the range that (estimate / truth) may have. */
export const SAMPLES: readonly (readonly [string, string, number, number])[] = [
  ['English', source('node_modules/fast-check/README.md').repeat(2), 0.95, 1.25],
  ['manual', source('test/fixtures/estimate/manual.txt'), 0.95, 1.35],
  ['licence', source('node_modules/@pydantic/genai-prices/LICENSE'), 0.95, 1.35],
  ['TypeScript', source('test/fixtures/estimate/typescript.txt'), 0.95, 1.3],
  ['declarations', source('node_modules/ai/dist/index.d.ts'), 0.95, 1.35],
  ['JavaScript', source('node_modules/ai/dist/index.js'), 0.95, 1.3],
  ['minified JavaScript', source('node_modules/marked/marked.min.js'), 0.87, 1.3],
  ['tool schemas', TOOL_SCHEMAS, 0.95, 1.35],
  ['tool schemas, indented', JSON.stringify(JSON.parse(TOOL_SCHEMAS), undefined, 2), 0.9, 1.45],
  ['HTML', HTML, 0.9, 1.35],
  ['SQL', SQL, 0.9, 1.35],
  ['Python', PYTHON, 0.9, 1.35],
  ['JSON', source('test/fixtures/estimate/package-json.txt'), 0.95, 1.35],
  ['lock file', source('test/fixtures/estimate/lock-file.txt'), 0.9, 1.3],
  ['price table', source('test/fixtures/estimate/price-table.txt'), 0.87, 1.2],
  [
    'Chinese',
    '人工智能的发展正在改变我们的生活方式。企业需要控制大型语言模型的使用成本，并且确保每一次调用都有完整的审计记录。',
    0.9,
    1.6,
  ],
  [
    'Japanese',
    '人工知能の発展は私たちの生活を変えつつあります。企業は大規模言語モデルの利用コストを管理し、監査できるようにします。',
    0.9,
    1.3,
  ],
  [
    'Korean',
    '인공지능의 발전은 우리의 삶을 바꾸고 있습니다. 기업은 대규모 언어 모델의 사용 비용을 관리하고 감사할 수 있어야 합니다.',
    0.9,
    1.4,
  ],
  [
    'Russian',
    'Развитие искусственного интеллекта меняет нашу жизнь. ' +
      'Предприятиям необходимо контролировать расходы на использование моделей.',
    0.9,
    1.5,
  ],
  [
    'Greek',
    'Η ανάπτυξη της τεχνητής νοημοσύνης αλλάζει τη ζωή μας. Οι ' +
      'επιχειρήσεις πρέπει να ελέγχουν το κόστος χρήσης των μοντέλων.',
    0.9,
    1.5,
  ],
  [
    'Arabic',
    'يغير تطور الذكاء الاصطناعي حياتنا. تحتاج الشركات إلى التحكم ' +
      'في تكاليف استخدام نماذج اللغة الكبيرة والاحتفاظ بسجل تدقيق.',
    0.9,
    1.4,
  ],
  [
    'Hindi',
    'कृत्रिम बुद्धिमत्ता का विकास हमारे जीवन को बदल रहा है। कंपनियों ' +
      'को बड़े भाषा मॉडल के उपयोग की लागत को नियंत्रित करना आवश्यक है।',
    0.9,
    1.5,
  ],
  ['Thai', 'การพัฒนาปัญญาประดิษฐ์กำลังเปลี่ยนแปลงชีวิตของเรา องค์กรจำเป็นต้องควบคุมค่าใช้จ่ายในการใช้แบบจำลอง', 0.9, 1.4],
  [
    'German',
    'Die Entwicklung der künstlichen Intelligenz verändert unser ' +
      'Leben. Unternehmen müssen Rechnungsprüfungsprotokolle führen.',
    0.9,
    1.3,
  ],
  [
    'Polish',
    'Rozwój sztucznej inteligencji zmienia nasze życie. ' +
      'Przedsiębiorstwa muszą kontrolować koszty korzystania z dużych modeli.',
    0.87,
    1.3,
  ],
  [
    'Vietnamese',
    'Sự phát triển của trí tuệ nhân tạo đang thay đổi cuộc sống của chúng ta. Các doanh nghiệp cần kiểm soát chi phí sử dụng.',
    0.9,
    2.2,
  ],
  ['presentation forms (NFKC)', 'ﷺ ﷲ ﬃ ㎉ ㍿ ｶﾞ Ⅷ ½ ﹢ '.repeat(20), 0.8, 2],
  ['emoji', '🎉🚀😀👍🏽❤️👨‍👩‍👧‍👦🔥✨🙏😂🇩🇪💡'.repeat(10), 0.9, 1.7],
  ['base64', noise(6000).toString('base64'), 0.9, 1.2],
  ['base64url', noise(6000).toString('base64url'), 0.9, 1.2],
  ['hex', noise(6000).toString('hex'), 0.9, 1.35],
  ['HEX', noise(6000).toString('hex').toUpperCase(), 0.9, 1.35],
  ['UUIDs', Array.from({ length: 200 }, uuid).join('\n'), 0.9, 1.3],
  ['base32', letters('abcdefghijklmnopqrstuvwxyz234567'), 0.9, 1.3],
  ['random letters', letters('abcdefghijklmnopqrstuvwxyz'), 0.9, 1.3],
  ['random capitals', letters('ABCDEFGHIJKLMNOPQRSTUVWXYZ'), 0.9, 1.3],
  ['digits', letters('0123456789'), 0.95, 1.1],
  ['punctuation', letters('!"#$%&()*+,-./:;<=>?@[]^_{|}~'), 0.9, 1.3],
  ['one letter', 'a'.repeat(3000), 0.9, 6],
  ['line ends', '\n'.repeat(3000), 0.9, 2],
];
