import type { Evidence, PortInfo } from '../../evidence.js';
import { share } from '../charts/axes.js';
import { formatBytes, formatCount, plural } from '../format.js';
import { type Content, type Html, html } from '../html.js';
import { section } from '../parts.js';

/** On what it was measured, and how to do it again. */
export function provenance(evidence: Evidence): Content {
  return [data(evidence), machine(evidence), repeat(evidence)];
}

function data({ data: d }: Evidence): Html {
  const total = Math.max(1, d.calibration + d.evaluation);
  return section(
    'data',
    'Data',
    d.kind === 'random'
      ? 'Random inputs, because no data was given.'
      : 'Samples that calibrate never score: the two parts do not overlap.',
    [
      html`<svg class="split" width="100%" height="12" role="img" aria-label="${`${d.calibration} samples for calibration, ${d.evaluation} for evaluation`}"><rect class="evaluation" width="100%" height="12" rx="6"/><rect class="calibration" width="${share(d.calibration / total)}" height="12" rx="6"/></svg><p class="legend"><span><i class="calibration"></i>${formatCount(d.calibration)} calibration</span><span><i class="evaluation"></i>${formatCount(d.evaluation)} evaluation</span></p>`,
      facts([
        ['Data set', html`<bdi>${d.name}</bdi>`],
        [
          'Samples',
          `${formatCount(d.samples)}${d.labelled ? `, labelled${d.classes === null ? '' : `, ${plural(d.classes, 'class').replace('classs', 'classes')}`}` : ', no labels'}`,
        ],
        ['Seed of the split', String(d.seed)],
        d.hash !== null && ['SHA-256', html`<code class="hash">${d.hash}</code>`],
      ]),
    ],
  );
}

function machine({ host, model, options, createdAt }: Evidence): Html {
  const ports = (list: readonly PortInfo[]): Content =>
    list.map((p) => html`<code>${p.name} ${p.dtype}[${p.dims.map((d) => d ?? '?').join(', ')}]</code> `);
  return section(
    'host',
    'Model and host',
    'Latency and memory hold for this machine and these versions.',
    facts([
      [
        'Model',
        html`<bdi>${model.file ?? model.name}</bdi>, ${formatBytes(model.bytes)}${model.opset !== null && `, opset ${model.opset}`}`,
      ],
      model.sha256 !== null && ['SHA-256', html`<code class="hash">${model.sha256}</code>`],
      ['Inputs', ports(model.inputs)],
      ['Outputs', ports(model.outputs)],
      [
        'Processor',
        `${host.cpu}, ${plural(host.cores, 'logical processor')}, ${host.arch}${host.flags.length > 0 ? ` (${host.flags.join(', ')})` : ''}`,
      ],
      ['Memory', formatBytes(host.memoryBytes)],
      ['System', host.os],
      ['Runtime', `${host.runtime}, ${host.engine}`],
      ['Pare', host.pare],
      [
        'Run',
        `${options.target === null ? '' : `target ${options.target}, `}${plural(options.threads, 'thread')}, batch ${options.batchSize}, seed ${options.seed}`,
      ],
      ['Measured', `${createdAt.slice(0, 19).replace('T', ' ')} UTC`],
    ]),
  );
}

function repeat({ repeat: r }: Evidence): Content {
  if (r.command === '' && r.config === null) return null;
  const code = (text: string): Html => html`<div class="code"><pre><code>${text}</code></pre></div>`;
  return section(
    'repeat',
    'Repeat it',
    'The same run again. All that was measured is in evidence.json beside this report.',
    [
      r.command !== '' && code(r.command),
      r.config !== null && [html`<p class="note">With this <code>pare.config.ts</code>:</p>`, code(r.config)],
    ],
  );
}

function facts(rows: readonly (false | readonly [string, Content])[]): Html {
  return html`<dl class="facts">${rows.map((row) => row && html`<div><dt>${row[0]}</dt><dd>${row[1]}</dd></div>`)}</dl>`;
}
