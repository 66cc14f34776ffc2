from ipyjobs.schema import typescript
from tools.workplace import ROOT


def test_the_page_is_compiled_against_the_schema_as_it_is():
    committed = (ROOT / "js/src/schema.gen.ts").read_text(encoding="utf-8")

    assert committed == typescript(), "run `python -m ipyjobs.schema > js/src/schema.gen.ts` and commit it"
