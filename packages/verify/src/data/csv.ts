import { PareError } from '@pare/core';

/**
 * Rows of a CSV file with a header (RFC 4180: quotes, doubled quotes, line breaks inside quotes; CRLF or LF; a byte order mark
 * is skipped). Empty lines are skipped.
 * @throws PareError `bad-data` naming `file` and the line.
 */
export function parseCsv(text: string, file = 'file'): Record<string, string>[] {
  const records = splitRecords(text.replace(/^\ufeff/, ''), file);
  const header = records.shift();
  if (!header) throw new PareError('bad-data', `${file} is empty; its first line must name the columns.`);
  const twice = header.fields.find((name, i) => header.fields.indexOf(name) !== i);
  if (twice !== undefined) throw new PareError('bad-data', `${file} has two columns named "${twice}".`);
  return records.map(({ fields, line }) => {
    if (fields.length !== header.fields.length) {
      throw new PareError(
        'bad-data',
        `Line ${line} of ${file} has ${fields.length} fields, its header has ${header.fields.length}.`,
      );
    }
    return Object.fromEntries(header.fields.map((name, i) => [name, fields[i] as string]));
  });
}

function splitRecords(text: string, file: string): { fields: string[]; line: number }[] {
  const records: { fields: string[]; line: number }[] = [];
  let line = 1;
  let at = 0;
  while (at < text.length) {
    const fields: string[] = [];
    const first = line;
    for (;;) {
      let field = '';
      if (text[at] === '"') {
        let close = at;
        for (;;) {
          close = text.indexOf('"', close + 1);
          if (close < 0) throw new PareError('bad-data', `Line ${first} of ${file} opens a quote that nothing closes.`);
          if (text[close + 1] !== '"') break;
          close++;
        }
        const quoted = text.slice(at + 1, close);
        line += quoted.split('\n').length - 1;
        field = quoted.replaceAll('""', '"');
        at = close + 1;
        if (at < text.length && !',\r\n'.includes(text[at] as string)) {
          throw new PareError('bad-data', `Line ${line} of ${file} has text after a closing quote.`);
        }
      } else {
        const start = at;
        while (at < text.length && text[at] !== ',' && text[at] !== '\n' && text[at] !== '\r') at++;
        field = text.slice(start, at);
      }
      fields.push(field);
      if (text[at] !== ',') break;
      at++;
    }
    if (text[at] === '\r') at++;
    if (text[at] === '\n') at++;
    line++;
    if (fields.length > 1 || fields[0] !== '') records.push({ fields, line: first });
  }
  return records;
}
