use crate::Scene;

const GET: &str = "GET /api/v1/files/{file}/content";

#[test]
pub(crate) fn ranges_that_select_nothing_of_ten_bytes() {
    let scene = Scene::new();
    for range in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999999-", "bytes=10-, 11-, -0"] {
        let row = (GET, &[("Range", range)] as &[_], "", 416, "range_not_satisfiable");
        scene.refused(&row, |request| {
            let answer = request.send();
            assert_eq!(answer.header("content-range"), Some("bytes */10"), "{range}");
            answer
        });
    }
}

#[test]
pub(crate) fn ranges_that_are_none_are_as_if_they_were_not_there() {
    let scene = Scene::new();
    let overlapping = "bytes=0-5,3-8";
    let eleven = "bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8,9-9,0-0";
    for range in
        ["", "bytes", "bytes=", "bytes=x", "bytes=5-2", "bytes=-", "lines=0-1", "bytes=0-1-2", overlapping, eleven]
    {
        let answer = scene.request(&(GET, &[("Range", range)], "", 0, "")).send();
        assert_eq!((answer.status, answer.text().as_str()), (200, "0123456789"), "{range}");
        assert!(answer.header("content-range").is_none() && answer.header("repr-digest").is_some());
    }
}
