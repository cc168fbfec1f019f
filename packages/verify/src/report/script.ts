/**
 * The script of the report: theme, sorting, tooltips, copying. Without it the page says the same. It touches nothing but the
 * page, and the page's content security policy lets no other script run: `SCRIPT_HASH` is its SHA-256.
 */
export const SCRIPT = `
const root = document.documentElement;
const saved = (() => { try { return localStorage.getItem('pare-theme'); } catch { return null; } })();
if (saved === 'dark' || saved === 'light') root.dataset.theme = saved;
const theme = document.querySelector('.theme');
const isDark = () => root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
const label = () => { theme.textContent = isDark() ? 'Light' : 'Dark'; };
theme.hidden = false;
label();
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', label);
theme.addEventListener('click', () => {
  root.dataset.theme = isDark() ? 'light' : 'dark';
  try { localStorage.setItem('pare-theme', root.dataset.theme); } catch {}
  label();
});

for (const th of document.querySelectorAll('th[data-sort]')) {
  const button = document.createElement('button');
  button.append(...th.childNodes);
  th.append(button);
  button.addEventListener('click', () => {
    const down = th.getAttribute('aria-sort') === 'ascending';
    for (const other of th.parentElement.children) other.removeAttribute('aria-sort');
    th.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    const key = (row) => row.children[th.cellIndex].dataset.value;
    const compare = (a, b) => {
      if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
      const order = isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
      return down ? -order : order;
    };
    const body = th.closest('table').tBodies[0];
    body.append(...[...body.rows].sort((a, b) => compare(key(a), key(b))));
  });
}

const tip = document.createElement('div');
tip.className = 'tip';
tip.hidden = true;
document.body.append(tip);
const texts = new WeakMap();
for (const title of document.querySelectorAll('svg title')) {
  texts.set(title.parentElement, title.textContent);
  title.remove();
}
document.addEventListener('pointermove', (event) => {
  let at = event.target;
  while (at instanceof Element && !texts.has(at)) at = at.parentElement;
  tip.hidden = !(at instanceof Element);
  if (tip.hidden) return;
  tip.textContent = texts.get(at);
  const { width, height } = tip.getBoundingClientRect();
  const { clientX: x, clientY: y } = event;
  tip.style.left = Math.max(6, Math.min(x + 14, innerWidth - width - 6)) + 'px';
  tip.style.top = (y + height + 24 > innerHeight ? y - height - 10 : y + 16) + 'px';
});

for (const code of document.querySelectorAll('.code')) {
  if (!navigator.clipboard) break;
  const button = document.createElement('button');
  button.className = 'copy';
  button.textContent = 'Copy';
  button.addEventListener('click', async () => {
    await navigator.clipboard.writeText(code.querySelector('code').textContent);
    button.textContent = 'Copied';
    setTimeout(() => { button.textContent = 'Copy'; }, 1500);
  });
  code.append(button);
}
`;

/** SHA-256 of SCRIPT, base64, as the content security policy wants it; a test keeps it true. */
export const SCRIPT_HASH = 'sha256-wT3ueYQ3TVaBFyBaXCAokyJsQYWdstaSWZhIuFYroTk=';
