"""The style sheet of the HTML export. Token colours and underline styles come from `domain.palette`; the other colours
are the window's. Knows no conversation: the sheet is the same for every file, so that its hash can be the only style
that the page's security policy lets in.
"""

from __future__ import annotations

from chatapp.domain.palette import KIND_STYLES, Theme

_SURFACES = {
    Theme.LIGHT: {
        "window": "#f4f5f8",
        "surface": "#ffffff",
        "sunken": "#f1f3f6",
        "border": "#e0e4ea",
        "strong": "#c3c9d4",
        "text": "#1b2028",
        "muted": "#596273",
        "accent": "#5546d8",
        "accent-soft": "#ebe9fc",
        "on-accent": "#ffffff",
        "warning": "#8a5800",
        "warning-soft": "#fdf3e0",
        "danger": "#b42332",
        "shadow": "0 8px 28px rgb(20 24 40 / .16), 0 2px 6px rgb(20 24 40 / .10)",
    },
    Theme.DARK: {
        "window": "#121419",
        "surface": "#1a1d24",
        "sunken": "#22262f",
        "border": "#2b303a",
        "strong": "#454c5a",
        "text": "#e7eaf0",
        "muted": "#9ba4b4",
        "accent": "#8d80ff",
        "accent-soft": "#2b2850",
        "on-accent": "#131126",
        "warning": "#f0c071",
        "warning-soft": "#352b1a",
        "danger": "#ff8b95",
        "shadow": "0 10px 32px rgb(0 0 0 / .55), 0 2px 6px rgb(0 0 0 / .4)",
    },
}


def style_sheet() -> str:
    """The whole sheet; the theme follows the system until one of the three buttons says otherwise."""
    light, dark = _variables(Theme.LIGHT), _variables(Theme.DARK)
    themes = (
        f":root{{color-scheme:light;{light}}}"
        f"@media (prefers-color-scheme:dark){{:root{{color-scheme:dark;{dark}}}}}"
        f":root:has(#theme-light:checked){{color-scheme:light;{light}}}"
        f":root:has(#theme-dark:checked){{color-scheme:dark;{dark}}}"
    )
    return themes + _kinds() + _LAYOUT + _CARD + _PLOT + _PRINT


def _variables(theme: Theme) -> str:
    surfaces = "".join(f"--{name}:{value};" for name, value in _SURFACES[theme].items())
    kinds = "".join(f"--{kind.value}:{style.colour(theme)};" for kind, style in KIND_STYLES.items())
    return surfaces + kinds


def _kinds() -> str:
    return "".join(
        f".{kind.value}{{--kind:var(--{kind.value});--mark:{style.underline.value}}}"
        for kind, style in KIND_STYLES.items()
    )


_LAYOUT = """
*{box-sizing:border-box}
html{scroll-padding-top:72px}
body{margin:0;background:var(--window);color:var(--text);
 font:15px/1.6 Inter,"Segoe UI",system-ui,-apple-system,Roboto,"Noto Sans","Helvetica Neue",sans-serif;
 font-variant-numeric:tabular-nums;-webkit-font-smoothing:antialiased}
main,.bar>div{max-width:880px;margin:0 auto;padding:0 24px}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px;border-radius:4px}
.bar{position:sticky;top:0;z-index:3;background:var(--window);border-bottom:1px solid var(--border)}
.bar>div{display:flex;flex-wrap:wrap;gap:8px 20px;align-items:center;min-height:56px;padding-top:8px;padding-bottom:8px}
.brand{font-weight:650;margin-right:auto;overflow:hidden;text-overflow:ellipsis;white-space:nowrap;max-width:40ch}
.bar fieldset{border:0;margin:0;padding:3px;display:flex;background:var(--sunken);border-radius:9px}
.bar fieldset label{position:relative;cursor:pointer}
.bar fieldset input{position:absolute;opacity:0;inset:0;margin:0;cursor:pointer}
.bar fieldset span{display:block;padding:3px 12px;border-radius:7px;font-size:13px;color:var(--muted)}
.bar fieldset input:checked+span{background:var(--surface);color:var(--text);box-shadow:0 1px 2px rgb(0 0 0 / .14)}
.bar fieldset input:focus-visible+span{outline:2px solid var(--accent)}
.switch{display:flex;gap:7px;align-items:center;font-size:13px;color:var(--muted);cursor:pointer}
.switch input{accent-color:var(--accent);width:15px;height:15px;margin:0}
h1{font-size:27px;line-height:1.25;letter-spacing:-.015em;font-weight:680;margin:36px 0 4px;overflow-wrap:anywhere}
.sub{color:var(--muted);margin:0 0 20px}
.panel{background:var(--surface);border:1px solid var(--border);border-radius:14px;padding:18px 20px}
.legend{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px 20px;margin:16px 0 0;padding:16px 0 0;
 border-top:1px solid var(--border);list-style:none}
.legend li{font-size:13px;line-height:1.45;color:var(--muted)}
.legend b{display:block;font-size:15px;font-weight:500;margin-bottom:5px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(98px,1fr));gap:12px 16px;margin:0}
.tiles div{display:flex;flex-direction:column}
.tiles dt{color:var(--muted);font-size:12px;line-height:1.35}
.tiles dd{order:-1;margin:0;font-size:19px;font-weight:620;letter-spacing:-.01em;line-height:1.3}
.turn{margin:36px 0 0}
.who{font-size:12px;font-weight:600;color:var(--muted);margin:0 0 6px;letter-spacing:.02em}
.you{display:flex;flex-direction:column;align-items:flex-end}
.bubble{background:var(--accent-soft);border-radius:14px 14px 4px 14px;padding:10px 16px;max-width:82%;
 white-space:pre-wrap;overflow-wrap:anywhere}
.system{margin:0 0 20px;padding:10px 16px;border-left:3px solid var(--strong);color:var(--muted);font-size:14px;
 white-space:pre-wrap;overflow-wrap:anywhere}
.system b{display:block;font-size:12px;font-weight:600}
.reply{margin-top:18px}
.text{font-size:16px;line-height:1.85;white-space:pre-wrap;overflow-wrap:anywhere}
.t{color:var(--kind);text-decoration:underline var(--mark) 1.5px;text-underline-offset:4px;
 text-decoration-skip-ink:none;border-radius:3px;scroll-margin:96px}
.t:hover,.t:focus{background:color-mix(in srgb,var(--kind) 16%,transparent);outline:none}
.t:focus-visible{outline:2px solid var(--kind);outline-offset:1px}
.t.empty::before{content:"";display:inline-block;width:3px;height:.8em;margin:0 1px;border-radius:2px;
 background:var(--kind);opacity:.55;vertical-align:-.05em}
:root:has(#show-colours:not(:checked)) .text .t{color:inherit;text-decoration:none}
:root:has(#show-colours:not(:checked)) .text .empty::before{display:none}
.rejected{display:none;color:var(--muted);font-size:.86em;background:var(--sunken);border-radius:4px;padding:1px 3px;
 margin:0 2px;user-select:none;text-decoration:line-through 1.5px}
:root:has(#show-rejected:checked) .rejected{display:inline}
.change{display:inline-block;font-size:11px;line-height:1.5;font-weight:600;color:var(--accent);background:var(--accent-soft);
 border-radius:6px;padding:1px 7px;margin:0 4px;vertical-align:2px;user-select:none;white-space:nowrap}
.state{display:inline-block;font-size:12.5px;font-weight:600;color:var(--warning);background:var(--warning-soft);
 border-radius:7px;padding:3px 10px;margin:10px 8px 0 0;overflow-wrap:anywhere}
.reply>.panel{margin-top:16px}
.shares{display:block;width:100%;height:8px;border-radius:4px;margin:16px 0 8px}
.shares rect{fill:var(--kind)}
.gauge{margin:8px 0 0;font-size:13px;color:var(--muted)}
.lossy{margin:12px 0 0;font-size:13px;color:var(--muted)}
.lossy b{color:var(--warning);background:var(--warning-soft);border-radius:6px;padding:1px 8px;margin-right:6px}
.rehearsal{width:fit-content;margin:0 0 12px;font-size:12.5px;font-weight:600;line-height:1.5;color:var(--warning);
 background:var(--warning-soft);border:1px solid var(--warning);border-radius:7px;padding:1px 10px}
.bar .rehearsal{margin:0;white-space:nowrap}
.remark{margin:0 0 20px;padding:10px 16px;font-weight:600;color:var(--warning);background:var(--warning-soft);
 border:1px solid var(--warning);border-radius:10px}
.share-key{display:flex;flex-wrap:wrap;gap:4px 20px;margin:0;padding:0;list-style:none;font-size:13px;color:var(--muted)}
.share-key .t{cursor:default}
details{margin-top:14px;border-top:1px solid var(--border);padding-top:12px}
summary{cursor:pointer;font-size:13px;color:var(--muted);width:fit-content}
summary:hover{color:var(--text)}
.facts{margin:12px 0 0;display:grid;grid-template-columns:repeat(auto-fill,minmax(250px,1fr));gap:6px 28px;font-size:13px}
.facts div{display:flex;gap:12px;justify-content:space-between;border-bottom:1px solid var(--border);padding-bottom:5px}
.facts dt{color:var(--muted);white-space:nowrap}
.facts dd{margin:0;text-align:right;overflow-wrap:anywhere;min-width:0}
footer{margin:44px 0 56px}
footer h2{font-size:15px;margin:0;font-weight:640}
footer .facts{grid-template-columns:1fr}
footer .note{color:var(--muted);font-size:12.5px;margin:14px 0 0}
.skip{position:absolute;left:-9999px}
.skip:focus{position:static;display:inline-block;margin-bottom:8px;color:var(--accent);font-size:13px}
"""

_CARD = """
.card{display:none;position:fixed;right:20px;bottom:20px;z-index:9;width:304px;padding:13px 15px;border-radius:12px;
 background:var(--surface);border:1px solid var(--border);box-shadow:var(--shadow);color:var(--text);
 font-size:12.5px;line-height:1.45;white-space:normal;text-decoration:none;cursor:default;user-select:none;direction:ltr;
 text-align:left;pointer-events:none}
.text .t:hover>.card,.text .t:focus>.card{display:block}
body:has(.text .t:hover) .text .t:focus:not(:hover)>.card{display:none}
@supports (position-area:bottom) and (position-try-fallbacks:flip-block){
.text .t:hover,.text .t:focus{anchor-name:--token}
body:has(.text .t:hover) .text .t:focus:not(:hover){anchor-name:none}
.card{right:auto;bottom:auto;position-anchor:--token;position-area:bottom span-right;margin:8px 0;
 position-try-fallbacks:flip-inline,flip-block,flip-block flip-inline}
}
.head{display:flex;justify-content:space-between;align-items:center;gap:10px}
.piece{font:600 13px/1.4 ui-monospace,"SF Mono","Cascadia Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace;overflow-wrap:anywhere}
.kind{color:var(--kind);font-weight:640;text-decoration:underline var(--mark) 1.5px;text-underline-offset:3px}
.meaning{display:block;color:var(--muted);margin:5px 0 8px}
.row{display:grid;grid-template-columns:76px 1fr;gap:8px;padding:3px 0}
.name{color:var(--muted)}
.prob{display:flex;gap:9px;align-items:center}
.meter{width:104px;height:5px;border-radius:3px;flex:none}
.rail{fill:var(--sunken)}
.level{fill:var(--kind)}
"""

_PLOT = """
.plot{margin:18px 0 0}
.plot svg{display:block;width:100%;height:auto;overflow:visible}
.grid{stroke:var(--border);stroke-width:1}
.axis,.change-label{font-size:10.5px;fill:var(--muted);font-family:inherit}
rect.step{fill:var(--accent);opacity:.78}
rect.step:hover{opacity:1}
.notch{fill:var(--surface)}
.off{fill:var(--text);opacity:.07}
.mean{stroke:var(--text);stroke-width:1;stroke-dasharray:5 4;opacity:.55}
.change-line{stroke:var(--accent);stroke-width:1;stroke-dasharray:2 3}
.change-label{fill:var(--accent);font-weight:600}
figcaption{display:flex;flex-wrap:wrap;gap:2px 20px;font-size:12px;color:var(--muted);margin-top:2px}
.mean-key::before{content:"";display:inline-block;width:18px;border-top:1px dashed var(--text);margin-right:7px;vertical-align:4px;opacity:.6}
.off-key::before{content:"";display:inline-block;width:14px;height:11px;border-radius:2px;background:var(--text);opacity:.12;margin-right:7px;
 vertical-align:-1px}
"""

_PRINT = """
@media (max-width:560px){main,.bar>div{padding-left:16px;padding-right:16px}.bubble{max-width:94%}.card{left:12px;right:12px;width:auto}}
@media (prefers-reduced-motion:no-preference){html{scroll-behavior:smooth}}
@media print{.bar{display:none}body{background:none}.panel,.turn .you{break-inside:avoid}}
"""
